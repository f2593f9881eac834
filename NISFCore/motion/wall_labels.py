"""What later frames' labels say of a tagged plane: how thick the wall is, and where it may be.

A plane stands still while tissue moves through it. Where the LV tapers, the wall that labels show
at time t is that of tissue from nearer the base, wider than what lay in the plane at ED: by more
than a millimetre at ES, which is more than tags are wrong by. So the two borders of the wall are
taken in pairs, with residuals r (signed distance of a moved ED border from the label's):

    (r_inner - r_outer) / sqrt 2     thickness: both borders come from the same tissue
    (r_inner + r_outer) / sqrt 2     position: its slow part around the LV (mean, cosine, sine) may
                                     be off by what came through the plane, the rest counts fully

The slow part's standard deviation grows with how much the border has shrunk, since tissue moves
through the plane as it contracts and is back at the end of the cycle. It is the whole heart that
shortens: through a plane that hardly contracts itself tissue comes as well. What is left of the
slow part tells how the tissue that was in the plane moved (`through_plane`). Where labels have lost
the wall (`shown_wall`) nothing counts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from NISFCore.motion.contours import Contour
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.refinement import (
    Rows,
    TissuePoints,
    huber_weight,
    sampled,
    tissue_points,
)

LEAST_SHRINKING = 0.3
"""Of the endocardium, at its most, that the slow part's doubt goes by: what healthy planes lose."""
SLOW_ORDERS = 1
"""Of the angle around the LV: what taper and tilt of the wall do to its labels."""


def angular_basis(points: Tensor, n_orders: int = SLOW_ORDERS) -> Tensor:
    """`(n, 1 + 2 n_orders)`: 1, cosines and sines of the angle at local points `(n, 2)`."""
    angle = torch.atan2(points[:, 1], points[:, 0])
    orders = range(1, n_orders + 1)
    waves = [wave for k in orders for wave in ((k * angle).cos(), (k * angle).sin())]
    return torch.stack([torch.ones_like(angle), *waves], dim=1)


def of_whole_heart(shrinking: Tensor) -> Tensor:
    """How far along its contraction the heart is `(n_frames,)`, from what one plane shows of it."""
    most = float(shrinking.max())
    return shrinking * max(1.0, LEAST_SHRINKING / most) if most > 0 else shrinking


class WallTerm:
    """Borders of the wall at ED against those of a frame's labels, see the module.

    Args:
        contours: inner and outer border, or one of them: then only its position counts.
        weight: of a squared distance in mm^2.
        growth: of the slow part's standard deviation over that of the rest, per part of its radius
            that the first contour has lost, see `LEAST_SHRINKING`.
        huber_mm: distances beyond it count linearly.
    """

    def __init__(
        self,
        field: DisplacementField,
        contours: Sequence[Contour],
        weight: float,
        growth: float,
        huber_mm: float,
    ) -> None:
        self._contours, self._huber_mm, self._root_weight = contours, huber_mm, weight**0.5
        first = contours[0].points
        nearest = [torch.cdist(first, c.points).argmin(dim=1) for c in contours]
        pairs = zip(contours, nearest, strict=True)
        self._borders = [tissue_points(field, c.points[at]) for c, at in pairs]
        self._basis = angular_basis(first)
        shortening = of_whole_heart(contours[0].shown.shrinking)
        self._doubt = (1 + (growth * shortening).square()).rsqrt()

    def rows(self, moment: float, C: Tensor) -> Rows:
        frame = self._contours[0].frame_at(moment)
        found = [
            _border_rows(contour, border, frame, C)
            for contour, border in zip(self._contours, self._borders, strict=True)
        ]
        doubt = float(self._doubt[frame])
        if len(found) == 1:
            r, J, shown = found[0]
            parts = self._position(r, J, shown, doubt)
        else:
            (r, J, shown), (other_r, other_J, other_shown) = found
            half, both = 2**-0.5, shown * other_shown
            parts = [
                self._weighted(half * (r - other_r), half * (J - other_J), both),
                *self._position(half * (r + other_r), half * (J + other_J), both, doubt),
            ]
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    def _position(self, r: Tensor, J: Tensor, shown: Tensor, doubt: float) -> list[Rows]:
        """The slow part and the rest."""
        slow = torch.linalg.qr(shown[:, None] * self._basis).Q
        r, J = shown * r, shown[:, None] * J
        slow_r, slow_J = slow.T @ r, slow.T @ J
        w = self._root_weight * doubt
        rest = self._weighted(r - slow @ slow_r, J - slow @ slow_J, shown)
        return [(w * slow_r, w * slow_J), rest]

    def _weighted(self, r: Tensor, J: Tensor, shown: Tensor) -> Rows:
        w = self._root_weight * shown * huber_weight(r, self._huber_mm)
        return w * r, w[:, None] * J


def _border_rows(
    contour: Contour, border: TissuePoints, frame: int, C: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals, their Jacobian, and how much each counts."""
    r, gradient = sampled(contour.distances, frame, border, C)
    shown = contour.shown.at(frame, border.points + border.features @ C)
    return r, border.jacobian(gradient), shown
