"""Borders of the LV wall in a heart that is known everywhere and at all times, as a fit gives it.

The log-odds of "cavity" and of "cavity or wall" on a grid around the LV, one volume per time; over
the length of their gradient they are distances in mm near their zero, negative inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn.functional import grid_sample

from NISFCore.errors import StudyError
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.refinement import Rows, TissuePoints, huber_weight
from NISFCore.motion.space import HeartSpace, frame_from_points, placement_of
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter

SPACING_MM = 2.5
MARGIN_MM = 14.0
SMOOTHING_VOXELS = 0.7
MAX_LOG_ODDS = 4.0
MIN_PROBABILITY = 1e-4
MIN_SLOPE = 0.15
"""Log-odds per mm. Far from a border they level off and are no distance."""
MAX_DISTANCE_MM = 4.0
INSIDE_MM = 2.0
"""The cavity's border is endocardium where it is deeper than this in the LV: its basal end is a
valve."""
MIN_WALL_LOG_ODDS = -1.5
"""Of the LV's border where it is the wall's."""
N_BORDER_POINTS = 700

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LevelSets:
    """A border over time as volumes.

    Attributes:
        values: `(n_times, 4, nz, ny, nx)`: log-odds, negative inside, and their derivatives by the
            local x, y and z in mm.
        low: `(3,)` local mm, centre of the first voxel.
        spacing_mm: of voxels, along the local axes.
        times: `(n_times,)` cycle fractions.
    """

    values: Tensor
    low: Tensor
    spacing_mm: float
    times: Tensor

    def at(self, frame: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance `(n,)` in mm, good near the border, and its gradient `(n, 3)`, at local
        points `(n, 3)`."""
        sides = torch.tensor(self.values.shape[:1:-1])  # nx, ny, nz
        grid = 2 * (points - self.low) / (self.spacing_mm * (sides - 1)) - 1
        volume = self.values[frame : frame + 1]
        found = grid_sample(
            volume, grid[None, None, None], align_corners=True, padding_mode="border"
        )[0, :, 0, 0]
        gradient = found[1:].T
        slope = gradient.norm(dim=1).clamp_min(MIN_SLOPE)
        distance = (found[0] / slope).clamp(-MAX_DISTANCE_MM, MAX_DISTANCE_MM)
        return distance, gradient / slope[:, None]


@dataclass(frozen=True)
class HeartLabels:
    """What a heart's labels say of its LV wall over time."""

    blood: LevelSets
    lv: LevelSets
    endocardium: Tensor
    epicardium: Tensor

    def depth_mm(self, points: Tensor) -> Tensor:
        """`(n,)` mm from local points `(n, 3)` to the nearest border at ED, good near it; negative
        outside the wall."""
        return torch.minimum(self.blood.at(0, points)[0], -self.lv.at(0, points)[0])


class BorderInVolume:
    """Tissue of a border at ED is on that border at all times: a `refinement.FrameTerm`."""

    def __init__(
        self, border: TissuePoints, surface: LevelSets, weight: float, huber_mm: float
    ) -> None:
        self._border, self._surface = border, surface
        self._root_weight, self._huber_mm = weight**0.5, huber_mm

    def rows(self, moment: float, C: Tensor) -> Rows:
        frame = int((self._surface.times - moment).abs().argmin())
        r, gradient = self._surface.at(frame, self._border.points + self._border.features @ C)
        w = self._root_weight * huber_weight(r, self._huber_mm)
        return w * r, self._border.jacobian(w[:, None] * gradient)


def space_of_heart(heart: HeartField, base_from_apex_ras: Points) -> HeartSpace:
    """The LV of a heart at ED.

    Raises:
        StudyError: if it has no LV wall or no cavity.
    """
    grid = heart.box.grid(SPACING_MM)
    points = grid.points_ras().reshape(-1, 3)
    labels = heart.evaluate(points, 0.0).labels
    wall, blood, rv = (
        points[labels == k] for k in (Label.LV_MYOCARDIUM, Label.LV_BLOOD_POOL, Label.RV_BLOOD_POOL)
    )
    if not len(wall) or not len(blood):
        raise StudyError(
            "the heart has no LV wall or no LV cavity at ED, so there is nothing to follow; look "
            "at the fit's labels, and guide it with a few of your own"
        )
    frame = frame_from_points(base_from_apex_ras, blood, rv).with_wall(wall)
    return HeartSpace(frame, placement_of(frame, wall), wall)


def heart_labels(
    heart: HeartField,
    space: HeartSpace,
    times: Sequence[float],
    progress: ProgressReporter,
    cancel: CancelToken,
) -> HeartLabels:
    """Sample a heart's labels around its LV at every time.

    Raises:
        StudyError: if cavity or wall are absent at one of them.
        Cancelled: between two times.
    """
    local = space.placement.local_from_ras(space.points_ras)
    low = local.min(axis=0) - MARGIN_MM
    n = np.ceil((local.max(axis=0) + MARGIN_MM - low) / SPACING_MM).astype(int) + 1
    sides = [low[k] + SPACING_MM * np.arange(n[k]) for k in range(3)]
    z, y, x = np.meshgrid(*sides[::-1], indexing="ij")
    points = space.placement.ras_from_local(np.stack([x, y, z], axis=-1).reshape(-1, 3))
    volumes: dict[str, list[Volume]] = {"blood": [], "lv": []}
    for j, time in enumerate(times):
        cancel.check()
        p = heart.evaluate(points, time).label_probabilities.reshape(*z.shape, -1)
        blood, wall = p[..., Label.LV_BLOOD_POOL], p[..., Label.LV_MYOCARDIUM]
        _check_present(blood, wall, time)
        volumes["blood"].append(_log_odds(blood))
        volumes["lv"].append(_log_odds(blood + wall))
        if j == 0:
            wall_odds = -_log_odds(wall)
        progress.report(ProgressEvent("labels", j + 1, len(times), 0.0))
    sets = [_level_sets(v, low, times) for v in (volumes["blood"], volumes["lv"])]
    inner, outer = (_border_points(s) for s in sets)
    depth = sets[1].at(0, inner)[0]
    at_wall = _sampled(wall_odds, low, outer) > MIN_WALL_LOG_ODDS
    return HeartLabels(sets[0], sets[1], _some(inner[depth < -INSIDE_MM]), _some(outer[at_wall]))


def _check_present(blood: Volume, wall: Volume, time: float) -> None:
    if not (blood > 0.5).any() or not (wall > 0.5).any():
        raise StudyError(
            f"the heart has no LV wall or no LV cavity {time:.0%} into the cycle; look at the "
            "fit's labels, and guide it with a few of your own"
        )


def _log_odds(probability: Volume) -> Volume:
    """Negative where the label is probable; smoothed, bounded."""
    p = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    bounded = np.clip(np.log(1 - p) - np.log(p), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.asarray(gaussian_filter(bounded, SMOOTHING_VOXELS), dtype=np.float32)


def _level_sets(volumes: list[Volume], low: Points, times: Sequence[float]) -> LevelSets:
    values = torch.from_numpy(np.stack(volumes))
    dz, dy, dx = torch.gradient(values, spacing=SPACING_MM, dim=(1, 2, 3))
    return LevelSets(
        torch.stack([values, dx, dy, dz], dim=1),
        torch.tensor(low, dtype=torch.float32),
        SPACING_MM,
        torch.tensor(times, dtype=torch.float32),
    )


def _border_points(surface: LevelSets) -> Tensor:
    """Local points `(n, 3)` on the border at ED."""
    vertices, *_ = marching_cubes(surface.values[0, 0].numpy(), 0.0)
    places = torch.from_numpy(vertices[:, ::-1].astype(np.float32))
    return surface.low + SPACING_MM * places


def _sampled(volume: Volume, low: Points, points: Tensor) -> Tensor:
    index = ((points - torch.tensor(low, dtype=torch.float32)) / SPACING_MM).round().long()
    x, y, z = index.T
    return torch.from_numpy(volume)[z, y, x]


def _some(points: Tensor) -> Tensor:
    """At most so many, at random but always the same."""
    generator = torch.Generator().manual_seed(0)
    return points[torch.randperm(len(points), generator=generator)[:N_BORDER_POINTS]]
