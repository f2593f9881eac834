"""The descent's view of tagged images: local NCC with the tags at ED, differentiable by weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
        self, observations: Sequence[TagObservation], points: Tensor, windows: LocalWindows
    ) -> None:
        self._parts = [(o, o.template.at(points)) for o in observations]
        self._points, self._windows = points, windows

    def cost(self, field: DisplacementField, last_time: float) -> Tensor:
        """Mean over series, frames until `last_time`, and windows."""
        costs = []
        for o, template in self._parts:
            n_open = max(1, int((o.times <= last_time + TIME_TOLERANCE).sum()))
            moved = self._points + field.displacement(self._points, o.times[:n_open])
            # the first channel; the others are its derivatives
            images = ImageStack(o.images.values[:n_open, :1], o.images.pixel_from_local)
            values = images.sample(moved)[:, 0]
            costs.append(1 - self._windows.correlation(values, template).mean())
        return torch.stack(costs).mean()
