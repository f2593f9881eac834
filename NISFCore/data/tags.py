"""Tag lines found in images, and the naming of series that show one plane with several families.

Tags are a sharp peak of the spectrum, away from its origin: stronger than what anatomy gives at the
same distance from the origin (other directions) and in the same direction (other distances). Edges
are streaks through the origin and no peaks. Both of the first two frames must show the same peak,
so that spikes of one read-out are no tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len

from NISFCore.data.study import CineSlice, TagLines
from NISFCore.geometry.spaces import Affine

MIN_SPACING_MM, MAX_SPACING_MM = 4.0, 12.0
"""Distances of lines that are looked for."""
MIN_SHARPNESS = 2.0
"""How much stronger than anatomy a peak of tags is. Frames of the shared real cine study and of
simulated cines reach 1.3, simulated tags in their first 90 ms 3 to 80 (`docs/phantom.md`)."""
MIN_FAMILY_SHARE = 0.2
"""A second family's peak against the first's: harmonics of one family are weaker or parallel."""
N_FRAMES = 2
SAME_WAVE = 0.08
"""Largest change of a wave between two frames, over its length: the heart has hardly moved yet,
and the rest of the body not at all."""
FAMILY_ANGLE_DEG = 45.0

Spectrum = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Spectrum:
    """Amplitudes `(n, n)` of one frame; wave vectors (rad/mm along i and j) of the same shape."""

    amplitude: Spectrum
    across: Spectrum
    down: Spectrum

    @property
    def length(self) -> Spectrum:
        return np.hypot(self.across, self.down)

    def angle_deg(self, wave: npt.NDArray[np.float64]) -> Spectrum:
        """Angle of every wave vector to one, lines having no direction: 0 to 90."""
        product = np.abs(self.across * wave[0] + self.down * wave[1])
        cosine = product / np.maximum(self.length * np.linalg.norm(wave), 1e-12)
        return np.rad2deg(np.arccos(np.clip(cosine, 0, 1)))


def found_tags(
    frames: Sequence[npt.NDArray[np.float32]], ras_from_ijk: Affine
) -> tuple[TagLines, ...]:
    """Families of tag lines in the first frames of a slice.

    Args:
        frames: each `(rows, cols)`, in order of time; the first two are looked at.
        ras_from_ijk: of the slice.

    Returns:
        None, one or two families (a grid), the stronger first.
    """
    spacing = np.linalg.norm(ras_from_ijk[:3, :2], axis=0)
    waves = [_waves(_spectrum(frame, spacing)) for frame in frames[:N_FRAMES]]
    kept = [w for w in waves[0] if all(_is_among(w, others) for others in waves[1:])]
    return tuple(_lines(wave, ras_from_ijk / np.array([*spacing, 1.0, 1.0])) for wave in kept)


def is_tagged(item: CineSlice) -> bool:
    """Whether a slice says or shows that it is tagged."""
    return bool(item.tags) or bool(found_tags(list(item.frames), item.ras_from_ijk))


def series_name(plane: str, index: int, n_series: int) -> str:
    """Name of one of the series of a plane: "SA_01", or "SA_01_tags_2" where there are several."""
    return plane if n_series == 1 else f"{plane}_tags_{index + 1}"


def are_same_families(a: Sequence[TagLines], b: Sequence[TagLines]) -> bool:
    """Whether two series of one plane show lines of the same directions."""
    if len(a) != len(b):
        return False
    limit = np.cos(np.deg2rad(FAMILY_ANGLE_DEG))
    return all(any(abs(float(np.dot(x.normal_ras, y.normal_ras))) > limit for y in b) for x in a)


def _spectrum(frame: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64]) -> _Spectrum:
    """Of the frame under a Hann window, its mean removed."""
    rows, cols = frame.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(cols + 2)[1:-1])
    mean = float((frame * window).sum() / window.sum())
    n = next_fast_len(2 * max(rows, cols) if max(rows, cols) < 128 else max(rows, cols))
    amplitude = np.abs(np.fft.fft2((frame - mean) * window, s=(n, n)))
    k = 2 * np.pi * np.fft.fftfreq(n)
    across, down = np.meshgrid(k / spacing[0], k / spacing[1])
    return _Spectrum(amplitude, across, down)


def _waves(spectrum: _Spectrum) -> list[npt.NDArray[np.float64]]:
    """Wave vectors (rad/mm along i, j) of the tags, the strongest first; at most two."""
    length = spectrum.length
    allowed = (length > 2 * np.pi / MAX_SPACING_MM) & (length < 2 * np.pi / MIN_SPACING_MM)
    found: list[npt.NDArray[np.float64]] = []
    least = 0.0
    while len(found) < 2 and allowed.any():
        place = np.unravel_index(
            int(np.where(allowed, spectrum.amplitude, -1.0).argmax()), length.shape
        )
        wave = np.array([spectrum.across[place], spectrum.down[place]])
        peak = float(spectrum.amplitude[place])
        if peak <= least or peak < MIN_SHARPNESS * _anatomy(spectrum, wave):
            break
        found.append(_refined(spectrum, place))
        least = MIN_FAMILY_SHARE * peak
        allowed &= spectrum.angle_deg(wave) > FAMILY_ANGLE_DEG
    return found


def _anatomy(spectrum: _Spectrum, wave: npt.NDArray[np.float64]) -> float:
    """The strongest amplitude around a peak that is not its own, nor its harmonics', nor another
    family's or its products'."""
    ratio = spectrum.length / np.linalg.norm(wave)
    angle = spectrum.angle_deg(wave)
    nearer, farther = (ratio > 0.6) & (ratio < 0.8), (ratio > 1.25) & (ratio < 1.6)
    streak = (angle < 8) & (nearer | farther)
    ring = (np.abs(ratio - 1) < 0.1) & (angle > 15) & (angle < 75)
    return float(spectrum.amplitude[streak | ring].max(initial=0.0))


def _refined(spectrum: _Spectrum, place: tuple[np.intp, ...]) -> npt.NDArray[np.float64]:
    """Wave vector at the top of parabolas through the logarithms around a peak."""
    A, n = spectrum.amplitude, spectrum.amplitude.shape[0]
    wave = np.array([spectrum.across[place], spectrum.down[place]])
    steps = np.array([spectrum.across[0, 1], spectrum.down[1, 0]])
    for axis in range(2):
        shift = np.array([0, 1]) if axis == 0 else np.array([1, 0])
        low, top, high = (
            np.log(A[tuple((np.array(place) + s * shift) % n)] + 1e-12) for s in (-1, 0, 1)
        )
        curvature = low - 2 * top + high
        if curvature < 0:
            wave[axis] += steps[axis] * 0.5 * (low - high) / curvature
    return wave


def _is_among(wave: npt.NDArray[np.float64], others: Sequence[npt.NDArray[np.float64]]) -> bool:
    limit = SAME_WAVE * float(np.linalg.norm(wave))
    return any(min(np.linalg.norm(wave - o), np.linalg.norm(wave + o)) < limit for o in others)


def _lines(wave: npt.NDArray[np.float64], ras_from_mm: Affine) -> TagLines:
    length = float(np.linalg.norm(wave))
    x, y, z = (ras_from_mm[:3, :2] @ (wave / length)).tolist()
    return TagLines((x, y, z), 2 * np.pi / length)
