"""The descent's view of tagged images: local NCC with the tags at ED, differentiable by weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from NISFCore.motion.contours import Contour, wall_shown
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import ImageStack
from NISFCore.motion.similarity import LocalWindows
from NISFCore.motion.tagged import TagObservation

TIME_TOLERANCE = 1e-6
"""Of cycle fractions, which are stored in single precision."""


class TagCorrelation:
    """1 - NCC of the images, at the points moved by the field, with the tags at ED: a
    `descent.DataTerm`."""

    def __init__(
        self,
        observations: Sequence[TagObservation],
        points: Tensor,
        windows: LocalWindows,
        contours: Sequence[Contour] = (),
    ) -> None:
        self._parts = [(o, o.template.at(points)) for o in observations]
        self._points, self._windows, self._contours = points, windows, contours

    def cost(self, field: DisplacementField, last_time: float) -> Tensor:
        """Mean over series, frames until `last_time`, and windows; what has left the plane does
        not count, by labels where there are any."""
        costs = []
        for o, template in self._parts:
            n_open = max(1, int((o.times <= last_time + TIME_TOLERANCE).sum()))
            moved = self._points + field.displacement(self._points, o.times[:n_open])
            # the first channel; the others are its derivatives
            images = ImageStack(o.images.values[:n_open, :1], o.images.pixel_from_local)
            values = images.sample(moved)[:, 0]
            shown = wall_shown(self._contours, o.times[:n_open], moved.detach())
            lost = 1 - self._windows.correlation(values, template)
            costs.append((shown * lost).sum() / shown.sum().clamp_min(1.0))
        return torch.stack(costs).mean()
