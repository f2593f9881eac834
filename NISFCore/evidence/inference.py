"""`slice_evidence`: what the slice network says of a study, as guidance for a fit.

Every slice is seen through a few windows that differ a little (place, turn, size, contrast), each
answer is brought back to the slice's own pixels and averaged. Where the answers disagree, or the
network is not sure, or cannot know (above the base in short-axis planes), probabilities are drawn
towards uniform: a pixel of confidence 0 says nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.guidance import SliceGuidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import ConfigError
from NISFCore.evidence.channels import COORDINATES, N_CHANNELS, TEMPORAL, network_input
from NISFCore.evidence.network import SliceNetwork
from NISFCore.evidence.noise import blurred
from NISFCore.evidence.phases import spread_phases
from NISFCore.evidence.window import (
    RV_SHIFT_MM,
    UNCHANGED,
    WindowChange,
    WindowGrid,
    canonical_from_window,
    is_across_axis,
    pixels_of_window,
    sample_at,
    window_of_pixels,
    window_points,
)
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.progress import CancelToken
from NISFCore.views import View

TEST_TIME_CHANGES = (
    UNCHANGED,
    WindowChange(turn_rad=0.12, shift_mm=(5.0, -4.0), scale=1.05),
    WindowChange(turn_rad=-0.12, shift_mm=(-5.0, 4.0), scale=0.95),
    WindowChange(turn_rad=0.05, shift_mm=(-4.0, -6.0), scale=1.0),
)
SINGLE_FRAME_VIEWS = (1, 3)
"""Views that do not see the beating: at end-systole the mean of the cycle shows a larger cavity
than the frame does, and where both answers disagree nobody should be sure."""

ATRIAL_LENGTH_MM = 25.0
N_CAVITY_SLICES, N_CAVITY_PHASES = 3, 16
MIN_CYCLE_PHASES = 4
"""Fewer phases have no smallest cavity worth looking for."""

Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvidenceSettings:
    """How the network is asked, and how far it is believed.

    Attributes:
        n_views: windows per slice that are averaged, 1 to `len(TEST_TIME_CHANGES)`.
        uses_cycle, uses_coordinates: whether the network sees the beating and the place.
        mixes_single_frames: whether some of the views do not see the beating.
        most_confident: of any pixel; below 1 because simulated hearts are not real ones.
        base_start_mm, base_end_mm: in short-axis planes, where the confidence in ventricles begins
            to fall and ends to fall, mm above the canonical origin (the valves lie about there, and
            from a single short-axis plane nobody can tell ventricle from atrium).
        base_confidence: what is left of it above.
        atrial_confidence: what is left there of the confidence in background, within
            `heart_radius_mm` of the heart's axis: a network that takes a ventricle for an atrium is
            as wrong. Whole again `ATRIAL_LENGTH_MM` higher, where no ventricle reaches.
    """

    n_views: int = 4
    uses_cycle: bool = True
    uses_coordinates: bool = True
    mixes_single_frames: bool = True
    most_confident: float = 0.95
    base_start_mm: float = 20.0
    base_end_mm: float = 50.0
    base_confidence: float = 0.25
    atrial_confidence: float = 0.5
    heart_radius_mm: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_views <= len(TEST_TIME_CHANGES):
            raise ConfigError(
                f"EvidenceSettings.n_views: got {self.n_views}, allowed: 1 to "
                f"{len(TEST_TIME_CHANGES)}"
            )
        for name in ("most_confident", "base_confidence", "atrial_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"EvidenceSettings.{name}: got {getattr(self, name)}, allowed: 0 to 1"
                )
        if not self.base_start_mm < self.base_end_mm:
            raise ConfigError("EvidenceSettings: base_start_mm must be less than base_end_mm")


@dataclass(frozen=True)
class SliceAnswer:
    """What the network says of one slice at some phases, before it is softened.

    Attributes:
        phases: `(n,)`.
        probabilities: `(n, rows, cols, N_LABELS)`, mean over the windows.
        confidence: `(n, rows, cols)` in [0, 1].
        known: `(rows, cols)` inside at least one window.
    """

    phases: tuple[int, ...]
    probabilities: Field
    confidence: Field
    known: npt.NDArray[np.bool_]


def slice_evidence(
    study: CineStudy,
    canonical_from_ras: Affine,
    network: SliceNetwork,
    *,
    phases_per_slice: int = 8,
    device: str = "cpu",
    cancel: CancelToken | None = None,
    settings: EvidenceSettings = EvidenceSettings(),
) -> tuple[SliceGuidance, ...]:
    """Labels of every slice at phases spread over the cycle, softened by how sure they are.

    Works for any mixture of short- and long-axis slices, any pixel size and orientation.

    Args:
        canonical_from_ras: rigid, may be some degrees and millimetres wrong.
        phases_per_slice: at most; end-diastole and the smallest cavity are always among them.

    Raises:
        ConfigError: if no phase is asked for.
        Cancelled: if asked through `cancel`, between two slices.
    """
    if phases_per_slice < 1:
        raise ConfigError(f"phases_per_slice: got {phases_per_slice}, must be at least 1")
    network = network.on(device)
    es_fraction = None
    if phases_per_slice > 1:
        es_fraction = smallest_cavity_fraction(study, canonical_from_ras, network, device, cancel)
    found: list[SliceGuidance] = []
    for cine in study.slices:
        if cancel is not None:
            cancel.check()
        phases = spread_phases(cine, phases_per_slice, es_fraction)
        answer = ask(cine, canonical_from_ras, network, phases, settings, device)
        found += _guidance(cine, answer)
    return tuple(found)


def _guidance(cine: CineSlice, answer: SliceAnswer) -> Iterable[SliceGuidance]:
    """p' = c p + (1 - c) / N_LABELS where known, 0 elsewhere."""
    c = answer.confidence[..., None]
    soft = c * answer.probabilities + (1 - c) / N_LABELS
    soft = soft / soft.sum(axis=-1, keepdims=True) * answer.known[..., None]
    for phase, p in zip(answer.phases, soft, strict=True):
        yield SliceGuidance(cine.name, phase, p.astype(np.float32), answer.known)


# ---------------------------------------------------------------- one slice


def ask(
    cine: CineSlice,
    canonical_from_ras: Affine,
    network: SliceNetwork,
    phases: Sequence[int],
    settings: EvidenceSettings = EvidenceSettings(),
    device: str = "cpu",
) -> SliceAnswer:
    """The network's answer for some phases of one slice, on the slice's own pixels. The network
    has to be on `device` (`SliceNetwork.on`)."""
    canonical_from_ijk = canonical_from_ras @ cine.ras_from_ijk
    frames = _blurred_for(cine, network.grid, device)
    total = torch.zeros(len(phases), N_LABELS, *cine.shape, device=device)
    weight = torch.zeros(1, 1, *cine.shape, device=device)
    for view, change in enumerate(TEST_TIME_CHANGES[: settings.n_views]):
        window = canonical_from_window(canonical_from_ijk, network.grid, change)
        inputs = _inputs(frames, canonical_from_ijk, window, network.grid, phases)
        p = network.probabilities(inputs * _seen_channels(view, settings).to(device))
        back = window_of_pixels(canonical_from_ijk, window, cine.shape).to(device)
        inside = _inside(back, network.grid.n_pixels)[:, None]
        total += sample_at(p, back, is_continued=True) * inside
        weight += inside
    mean = (total / weight.clamp_min(1)).permute(0, 2, 3, 1).cpu().numpy()
    known = weight[0, 0].cpu().numpy() > 0
    sureness = _confidence(mean, cine, canonical_from_ras, settings)
    return SliceAnswer(tuple(phases), mean, sureness, known)


def _inputs(
    frames: Tensor,
    canonical_from_ijk: Affine,
    canonical_from_grid: Affine,
    grid: WindowGrid,
    phases: Sequence[int],
) -> Tensor:
    """`(n_phases asked, N_CHANNELS, n, n)` of one window."""
    where = pixels_of_window(canonical_from_ijk, canonical_from_grid, grid.n_pixels)
    where = where.to(frames.device)
    rows, cols = frames.shape[-2:]
    inside = _inside(where, (cols, rows))[:, None].float()
    cine = sample_at(frames[None], where, is_continued=True)
    points = window_points(canonical_from_grid, grid).astype(np.float32)
    coordinates = torch.as_tensor(points).permute(2, 0, 1)[None].to(frames.device)
    chosen = torch.tensor([list(phases)], device=frames.device)
    return network_input(cine, inside, chosen, coordinates)


def _seen_channels(view: int, settings: EvidenceSettings) -> Tensor:
    """`(N_CHANNELS, 1, 1)`: 1 for what the network sees in a view, else 0."""
    keeps = torch.ones(N_CHANNELS)
    is_single = settings.mixes_single_frames and view in SINGLE_FRAME_VIEWS
    keeps[TEMPORAL] = settings.uses_cycle and not is_single
    keeps[COORDINATES] = settings.uses_coordinates
    return keeps[:, None, None]


def _inside(ij: Tensor, size: int | tuple[int, int]) -> Tensor:
    """`(1, rows, cols)` bool: positions on the pixels of an image of `size` (columns, rows)."""
    n = torch.tensor((size, size) if isinstance(size, int) else size, device=ij.device)
    return ((ij >= -0.5) & (ij <= n - 0.5)).all(dim=-1)


def _blurred_for(cine: CineSlice, grid: WindowGrid, device: str) -> Tensor:
    """Frames `(n_phases, rows, cols)`; fine pixels are smoothed so that sampling does not alias."""
    frames = torch.as_tensor(cine.frames, device=device)
    ratio = grid.pixel_mm / min(cine.spacing_mm)
    if ratio <= 1.5:
        return frames
    sigma = torch.tensor([0.45 * float(np.sqrt(ratio**2 - 1))])
    return blurred(frames[None], sigma, radius=int(np.ceil(3 * float(sigma))))[0]


# ---------------------------------------------------------------- confidence


def _confidence(
    p: Field, cine: CineSlice, canonical_from_ras: Affine, settings: EvidenceSettings
) -> Field:
    """`(n, rows, cols)`: 1 - entropy over that of uniform, less near the base and above."""
    entropy = -(p * np.log(np.maximum(p, 1e-9))).sum(axis=-1) / np.log(N_LABELS)
    ventricles, background = base_factors(cine, canonical_from_ras, settings)
    share = p[..., Label.BACKGROUND]
    c = settings.most_confident * np.clip(1 - entropy, 0, 1)
    return np.asarray(c * (share * background + (1 - share) * ventricles), dtype=np.float32)


def base_factors(
    cine: CineSlice, canonical_from_ras: Affine, settings: EvidenceSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How far ventricles and background are believed at each pixel, `(rows, cols)` both: all of it
    in long-axis planes, which show the valves."""
    if not is_across_axis(canonical_from_ras @ cine.ras_from_ijk):
        return np.ones(cine.shape), np.ones(cine.shape)
    points_ras = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    x, y, z = np.moveaxis(apply_affine(canonical_from_ras, points_ras), -1, 0)
    length = settings.base_end_mm - settings.base_start_mm
    risen = np.clip((z - settings.base_start_mm) / length, 0.0, 1.0)
    passed = np.clip((z - settings.base_end_mm) / ATRIAL_LENGTH_MM, 0.0, 1.0)
    is_heart = np.hypot(x - RV_SHIFT_MM, y) < settings.heart_radius_mm
    ventricles = 1 - (1 - settings.base_confidence) * risen
    background = 1 - (1 - settings.atrial_confidence) * (risen - passed) * is_heart
    return ventricles, background


# ---------------------------------------------------------------- the smallest cavity


def smallest_cavity_fraction(
    study: CineStudy,
    canonical_from_ras: Affine,
    network: SliceNetwork,
    device: str = "cpu",
    cancel: CancelToken | None = None,
) -> float | None:
    """Cycle fraction at which the LV's area is smallest over a few slices; None without a cycle."""
    times = np.linspace(0.0, 1.0, 40, endpoint=False)
    total = np.zeros_like(times)
    for cine in _cavity_slices(study, canonical_from_ras):
        if cancel is not None:
            cancel.check()
        settings = EvidenceSettings(n_views=1)
        phases = spread_phases(cine, N_CAVITY_PHASES, None)
        answer = ask(cine, canonical_from_ras, network, phases, settings, device)
        area = answer.probabilities[..., Label.LV_BLOOD_POOL].sum(axis=(1, 2)).astype(np.float64)
        t = cine.cycle_fractions[list(phases)]
        total += np.interp(times, *_closed(t, area / max(area.max(), 1e-6)))
    return None if not total.any() else float(times[int(np.argmin(total))])


def _closed(
    t: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A curve over the cycle, lightly smoothed, continued on both sides."""
    order = np.argsort(t)
    t, v = t[order], values[order]
    v = (np.roll(v, 1) + 2 * v + np.roll(v, -1)) / 4
    return np.concatenate([t - 1, t, t + 1]), np.concatenate([v, v, v])


def _cavity_slices(study: CineStudy, canonical_from_ras: Affine) -> list[CineSlice]:
    """The short-axis slices nearest to the middle of the ventricle, else the long-axis ones."""
    moving = [c for c in study.slices if c.n_phases >= MIN_CYCLE_PHASES]
    sa = [c for c in moving if c.view is View.SA]
    heights = {c.name: abs(apply_affine(canonical_from_ras, c.centre_ras)[2]) for c in sa}
    sa.sort(key=lambda c: heights[c.name])
    return sa[:N_CAVITY_SLICES] or moving[:N_CAVITY_SLICES]
