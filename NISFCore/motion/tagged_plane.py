"""Everything that a fit within one tagged plane looks at, prepared once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import Points
from NISFCore.motion.border_distance import BorderDistance
from NISFCore.motion.config import DescentConfig, MotionConfig, RefinementConfig
from NISFCore.motion.contours import Contour, wall_contours
from NISFCore.motion.descent import DataTerm
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.plane import Plane, check_moving, plane_of
from NISFCore.motion.plane_in_space import evenly
from NISFCore.motion.refinement import (
    FrameTerm,
    PhaseTerm,
    TagTerm,
    VolumeTerm,
    tissue_points,
)
from NISFCore.motion.similarity import LocalWindows, local_windows
from NISFCore.motion.tag_correlation import TagCorrelation
from NISFCore.motion.tagged import TagObservation, observe, tagged_series
from NISFCore.motion.wall_labels import WallTerm

N_VOLUME_POINTS = 200
"""Of the tissue, at which its volume is looked at: the field is smooth."""


@dataclass(frozen=True)
class TaggedPlane:
    """One plane's images and labels as tensors.

    Attributes:
        plane: the plane and the tissue in it.
        observations: of each series.
        contours: of the wall; empty unless every frame is labelled.
        points: `(n, 2)` local mm, the tissue at ED.
        times: `(n_frames,)` cycle fractions of the first series.
        windows: of local normalisation, about each point.
    """

    plane: Plane
    observations: tuple[TagObservation, ...]
    contours: tuple[Contour, ...]
    points: Tensor
    times: Tensor
    windows: LocalWindows

    def field(self, config: MotionConfig) -> DisplacementField:
        """A still field for this plane."""
        return self.plane.field(config, self.times.tolist(), is_cyclic=False)

    def stages(self, field: DisplacementField, config: RefinementConfig) -> list[list[FrameTerm]]:
        """Of `refinement.track`: labels, phase, intensity; labels and volume with all of them."""
        tissue = tissue_points(field, self.points)
        few = evenly(self.points, N_VOLUME_POINTS)
        volume = VolumeTerm(field, few, config.volume_weight * len(self.points) / len(few))
        seen, borders = self.observations, self.contours
        coarse: FrameTerm = PhaseTerm(tissue, seen, config.phase_weight, borders)
        fine: FrameTerm = TagTerm(tissue, seen, self.windows, config.tag_huber, borders)
        if not self.contours:
            return [[coarse, volume], [fine, volume]]
        before, labels = (
            self._labels(field, config, doubt)
            for doubt in (config.start_doubt, config.position_doubt)
        )
        return [[before, volume], [coarse, labels, volume], [fine, labels, volume]]

    def _labels(
        self, field: DisplacementField, config: RefinementConfig, doubt: float
    ) -> FrameTerm:
        weight, huber_mm = config.wall_weight, config.contour_huber_mm
        return WallTerm(field, self.contours, weight, doubt, huber_mm)

    @torch.no_grad()
    def misfit(self, field: DisplacementField) -> float:
        """1 - local NCC of the images with the tags at ED, mean over the wall that is shown."""
        term = TagCorrelation(self.observations, self.points, self.windows, self.contours)
        return float(term.cost(field, 1.0))

    def data_terms(self, config: DescentConfig) -> list[tuple[float, DataTerm]]:
        """Of `descent.descend`: local NCC, and borders where labels tell."""
        terms: list[tuple[float, DataTerm]] = [
            (1.0, TagCorrelation(self.observations, self.points, self.windows, self.contours))
        ]
        if self.contours and config.contour_weight > 0:
            borders = BorderDistance(self.contours, config.contour_huber_mm)
            terms.append((config.contour_weight, borders))
        return terms


def tagged_plane(
    slices: Sequence[CineSlice],
    config: MotionConfig,
    base_from_apex_ras: Points | None = None,
) -> TaggedPlane:
    """Prepare the series of one plane, see `fit.fit_tagged_plane`.

    Raises:
        StudyError: without labels of the LV wall at ED, without tags, for a single frame, still
            images, or a movie that begins after ED.
    """
    check_moving(slices)
    plane = plane_of(slices[0], base_from_apex_ras)
    series = [tagged_series(s, plane.mask_on(s)) for s in slices]
    observations = tuple(
        observe(s, plane.mask_on(s.cine), plane.placement, config.start.band_width) for s in series
    )
    has_labels = config.refinement.wall_weight > 0
    contours = wall_contours(plane.cine, plane.placement) if has_labels else []
    points = plane.local_points()
    windows = local_windows(points, config.refinement.window_mm, 1.0)
    return TaggedPlane(plane, observations, tuple(contours), points, observations[0].times, windows)
