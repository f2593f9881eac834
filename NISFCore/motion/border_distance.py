"""The descent's view of labels: borders of the wall, differentiable by the field's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from NISFCore.motion.contours import Contour
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import ImageStack
from NISFCore.motion.tag_correlation import TIME_TOLERANCE


class BorderDistance:
    """Points of a border at ED lie on that border in every labelled frame: a `descent.DataTerm`."""

    def __init__(self, contours: Sequence[Contour], huber_mm: float) -> None:
        self._contours, self._huber_mm = contours, huber_mm

    def cost(self, field: DisplacementField, last_time: float) -> Tensor:
        """Mean of squared distances in mm^2, linear beyond `huber_mm`; 0 without labels."""
        costs = [self._of(contour, field, last_time) for contour in self._contours]
        return torch.stack(costs).mean() if costs else field.knots.new_zeros(())

    def _of(self, contour: Contour, field: DisplacementField, last_time: float) -> Tensor:
        n_open = max(1, int((contour.times <= last_time + TIME_TOLERANCE).sum()))
        moved = contour.points + field.displacement(contour.points, contour.times[:n_open])
        # the first channel; the others are its derivatives
        values = contour.distances.values[:n_open, :1]
        distance = ImageStack(values, contour.distances.pixel_from_local).sample(moved)[:, 0]
        shown = contour.shown.at_first(moved.detach())
        zero = torch.zeros_like(distance)
        # Huber's function is half the square
        loss = torch.nn.functional.huber_loss(
            distance, zero, delta=self._huber_mm, reduction="none"
        )
        return 2 * (shown * loss).sum() / shown.sum().clamp_min(1.0)
