"""One imaging plane and the tissue in it: what a fit within a plane begins with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.cardiac_frame import LVFrame, frame_of_plane, labels_at_ed
from NISFCore.motion.config import FieldConfig, MotionConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.harp import Mask
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.temporal import knots_of_frames

MIN_PHASES = 4
MAX_ED_FRACTION = 0.15
"""A movie that begins later in the cycle does not show ED."""
SAME_PLANE_MM = 0.05


@dataclass(frozen=True)
class Plane:
    """One imaging plane and the tissue in it at ED.

    Attributes:
        cine: the series that carries the labels.
        mask: `(rows, cols)` the LV wall at ED, on its pixels.
        frame, placement: the LV's directions; the plane's own coordinates.
        points_ras: `(n, 3)` pixels of the wall.
    """

    cine: CineSlice
    mask: Mask
    frame: LVFrame
    placement: Placement
    points_ras: Points

    def mask_on(self, other: CineSlice) -> Mask:
        """The wall on the pixels of another series of the plane.

        Raises:
            StudyError: if it lies elsewhere.
        """
        same = other.shape == self.cine.shape and np.allclose(
            other.ras_from_ijk, self.cine.ras_from_ijk, atol=SAME_PLANE_MM
        )
        if not same:
            raise StudyError(
                f"slices {self.cine.name!r} and {other.name!r} do not show the same plane; give "
                "the series of one plane together"
            )
        return self.mask

    def local_points(self) -> Tensor:
        """The wall's pixels `(n, 2)` in local mm."""
        return self.local_of(self.points_ras)

    def local_of(self, points_ras: Points) -> Tensor:
        """Points `(n, 3)` of the plane as `(n, 2)` local mm."""
        return torch.tensor(self.placement.local_from_ras(points_ras), dtype=torch.float32)

    def times(self) -> Tensor:
        """`(n_frames,)` cycle fractions of the labelled series."""
        return torch.tensor(self.cine.cycle_fractions, dtype=torch.float32)

    def field(self, config: MotionConfig, times: list[float], is_cyclic: bool) -> DisplacementField:
        """A still field for this plane."""
        start = config.start
        return DisplacementField(
            FieldConfig(
                n_dims=2,
                knots=knots_of_frames(times, is_cyclic),
                is_cyclic=is_cyclic,
                network=config.network,
                n_features=start.n_features,
                omega=start.omega,
                seed=start.seed,
            ),
            self.placement,
        )


def plane_of(cine: CineSlice, base_from_apex_ras: Points | None) -> Plane:
    """The plane of a labelled slice.

    Raises:
        StudyError: without labels of the LV wall at ED.
    """
    mask = labels_at_ed(cine) == Label.LV_MYOCARDIUM
    frame = frame_of_plane(cine, base_from_apex_ras)
    points = mask_points_ras(cine, mask)
    normal = cine.normal_ras
    first = frame.rv_from_lv_ras - (frame.rv_from_lv_ras @ normal) * normal
    first = first / np.linalg.norm(first)
    radius = float(np.sqrt(((points - frame.centre_ras) ** 2).sum(axis=1).mean()))
    # towards the anterior wall whichever side of the plane its normal points to: hearts that are
    # seen from either side have the same twist
    axes = np.stack([first, np.cross(frame.base_from_apex_ras, first)])
    axes[1] -= (axes[1] @ normal) * normal
    axes[1] /= np.linalg.norm(axes[1])
    return Plane(cine, mask, frame, Placement(frame.centre_ras, axes, radius), points)


def check_moving(slices: Sequence[CineSlice]) -> None:
    """Refuse what has no motion to estimate.

    Raises:
        StudyError: for too few phases, frames that are all the same, or a movie without ED.
    """
    for cine in slices:
        if cine.n_phases < MIN_PHASES:
            raise StudyError(
                f"slice {cine.name!r} has {cine.n_phases} phase(s), motion needs at least "
                f"{MIN_PHASES}; give the whole movie"
            )
        if not np.ptp(cine.frames, axis=0).any():
            raise StudyError(
                f"slice {cine.name!r}: all its frames are the same image; nothing moves in it"
            )
        first = float(cine.cycle_fractions[0])
        if first > MAX_ED_FRACTION:
            raise StudyError(
                f"slice {cine.name!r} begins {first:.0%} into the cycle; displacement counts from "
                f"end-diastole, so the first frame must lie within {MAX_ED_FRACTION:.0%} of it"
            )


def moving_slices(study: CineStudy) -> list[CineSlice]:
    """The slices that show motion from ED on.

    Raises:
        StudyError: if none does, with the first slice's reason.
    """
    problems, good = [], []
    for cine in study.slices:
        try:
            check_moving([cine])
            good.append(cine)
        except StudyError as error:
            problems.append(error)
    if not good:
        raise problems[0] if problems else StudyError("the study has no slices")
    return good
