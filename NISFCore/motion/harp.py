"""Tag phase by HARP (Osman et al. 1999, Magn Reson Med 42:1048): tags are a plane wave laid down
in the tissue at ED, whose phase k X + p every point of the tissue keeps.

In frame j, the band-passed image is A exp(i (k X(x) + p)). `demodulated` divides by the wave at x,
so that the remaining phase is -k u at x = X + u: smooth, and free of wraps while k u < pi.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice, TagLines
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points

N_REFINEMENTS = 8

Complex = npt.NDArray[np.complex128]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TagWave:
    """One direction of tags: phase(X) = vector_ras X + phase_rad at ED.

    Attributes:
        vector_ras: `(3,)` rad/mm, across the lines.
        phase_rad: at the origin of RAS.
    """

    vector_ras: npt.NDArray[np.float64]
    phase_rad: float

    @property
    def spacing_mm(self) -> float:
        """Distance of the lines."""
        return 2 * math.pi / float(np.linalg.norm(self.vector_ras))

    def phase_at(self, points_ras: Points) -> npt.NDArray[np.float64]:
        """Phase `(...,)` in rad of the tissue that is at `(..., 3)` at ED."""
        return np.asarray(points_ras @ self.vector_ras + self.phase_rad)


def wrapped(phase: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Into [-pi, pi)."""
    return np.mod(phase + math.pi, 2 * math.pi) - math.pi


def demodulated(
    frames: npt.NDArray[np.floating], cine: CineSlice, wave: TagWave, band_width: float
) -> Complex:
    """Complex images `(n_frames, rows, cols)` whose phase is -k u.

    Args:
        frames: of `cine`, or some of them.
        band_width: standard deviation of the Gaussian pass band over |k|.
    """
    step = wave.vector_ras @ cine.ras_from_ijk[:3, :2]  # rad per column, per row
    spacing = np.array(cine.spacing_mm)
    rows, cols = cine.shape
    across = 2 * np.pi * np.fft.fftfreq(cols) - step[0]
    down = 2 * np.pi * np.fft.fftfreq(rows) - step[1]
    sd = band_width * float(np.linalg.norm(wave.vector_ras))

    def bell(dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        d2 = (dx[None, :] / spacing[0]) ** 2 + (dy[:, None] / spacing[1]) ** 2
        return np.exp(-d2 / (2 * sd**2))

    # nothing passes at frequency 0: brightness outweighs faded tags by far
    window = bell(across, down) * (1 - bell(across + step[0], down + step[1]))
    analytic = np.fft.ifft2(np.fft.fft2(frames) * window)
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    return analytic * np.exp(-1j * wave.phase_at(points))


def measured_waves(
    cine: CineSlice, mask: Mask, families: Sequence[TagLines]
) -> tuple[TagWave, ...]:
    """The waves of families of lines: their phase, and their exact vector, in the first frame.

    Args:
        cine: its first frame is at ED, before the tissue has moved.
        mask: `(rows, cols)` the tissue.
        families: as the scanner says, or as they were found.
    """
    waves = []
    for lines in families:
        vector = 2 * math.pi / lines.spacing_mm * np.array(lines.normal_ras)
        waves.append(refined_wave(cine, mask, TagWave(vector, 0.0)))
    return tuple(waves)


def refined_wave(cine: CineSlice, mask: Mask, wave: TagWave) -> TagWave:
    """The wave whose phase is the first frame's in the tissue, from a nearby one.

    Linear least squares on the demodulated image's phase, a few times: what is left is small.
    """
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)[mask]
    centre = points.mean(axis=0)
    axes = cine.ras_from_ijk[:3, :2] / np.array(cine.spacing_mm)
    design = np.column_stack([(points - centre) @ axes, np.ones(len(points))])
    for _ in range(N_REFINEMENTS):
        left = demodulated(cine.frames[:1], cine, wave, band_width=0.3)[0][mask]
        turn = float(np.angle(left.sum()))
        weights = np.abs(left)
        target = np.angle(left * np.exp(-1j * turn))
        fit = np.linalg.lstsq(design * weights[:, None], target * weights, rcond=None)[0]
        change = axes @ fit[:2]
        phase = wave.phase_rad + turn + fit[2] - float(change @ centre)
        wave = TagWave(wave.vector_ras + change, float(wrapped(np.array(phase))))
    return wave
