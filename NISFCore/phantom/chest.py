"""What surrounds the heart: static, in patient axes (RAS mm relative to the LV centre).

Simple analytic shapes: thorax wall with ribs and fat, lungs with vessels, mediastinum, spine,
descending aorta, diaphragm, liver and stomach. The heart slides along it.
"""

import torch
from torch import Tensor

from NISFCore.phantom.parameters import HeartParameters

AIR = 0.02
RIB_PERIOD_MM = 22.0


def coverage(signed_distance_mm: Tensor, edge_mm: float) -> Tensor:
    """Share of a sample that lies inside: 1 inside, 0 outside, linear over `edge_mm`."""
    return (signed_distance_mm * (-1 / edge_mm)).add_(0.5).clamp_(0.0, 1.0)


def paint(canvas: Tensor, value: Tensor | float, cover: Tensor) -> Tensor:
    """`value` laid over `canvas` where it covers it."""
    if isinstance(value, float):
        value = canvas.new_tensor(value)
    return torch.lerp(canvas, value, cover)


def ellipse_distance(
    a: Tensor, b: Tensor, centre: tuple[float, float], radii: tuple[float, float]
) -> Tensor:
    """Approximate signed distance in mm to an ellipse in the plane of `a` and `b`."""
    u, v = (a - centre[0]) * (1 / radii[0]), (b - centre[1]) * (1 / radii[1])
    return ((u.square() + v.square()).sqrt() - 1) * min(radii)


class Chest:
    """The static surroundings of one heart."""

    def __init__(self, parameters: HeartParameters) -> None:
        self.parameters = parameters.chest
        self.appearance = parameters.appearance

    def intensity(self, points: Tensor, edge_mm: float) -> Tensor:
        """Signal at `points` `(n, 3)`, RAS axes, origin at the LV centre."""
        R, A, S = points.unbind(-1)
        chest = self.parameters
        outside = ellipse_distance(R, A, chest.thorax_centre_mm, chest.thorax_radii_mm)
        body = self._wall(outside, S, edge_mm)
        inside = self._upper(R, A, S, edge_mm)
        inside = paint(inside, *self._abdomen(R, A, S, edge_mm))
        return paint(body, inside, coverage(outside, edge_mm))

    def _wall(self, outside: Tensor, S: Tensor, edge_mm: float) -> Tensor:
        look, chest = self.appearance, self.parameters
        ribs = 0.55 + 0.45 * torch.sin(S * (6.283 / RIB_PERIOD_MM) + outside * 0.05)
        muscle = look.muscle * (0.75 + 0.5 * ribs)
        skin = chest.wall_mm + chest.body_fat_mm
        body = paint(muscle, look.fat, coverage(chest.wall_mm - outside, edge_mm))
        return paint(body, AIR, coverage(skin - outside, edge_mm))

    def _upper(self, R: Tensor, A: Tensor, S: Tensor, edge_mm: float) -> Tensor:
        """Lungs, mediastinum, spine and descending aorta."""
        look = self.appearance
        x, y = self.parameters.thorax_centre_mm
        lung = look.lung + self._vessels(R, A, S)
        middle = ellipse_distance(R, A, (x - 8.0, y - 5.0), (30.0, 88.0))
        canvas = paint(lung, 0.75 * look.fat, coverage(middle, 3 * edge_mm))
        spine = ellipse_distance(R, A, (x, y - 82.0), (24.0, 22.0))
        canvas = paint(canvas, 0.1, coverage(spine, edge_mm))
        discs = look.spine * (1 + 0.15 * torch.sin(S * 0.2))
        canvas = paint(canvas, discs, coverage(spine + 2.0, edge_mm))
        aorta = ellipse_distance(R, A, (x - 30.0, y - 58.0), (12.0, 12.0))
        canvas = paint(canvas, 0.2, coverage(aorta - 1.5, edge_mm))
        return paint(canvas, look.atrial_blood, coverage(aorta, edge_mm))

    def _vessels(self, R: Tensor, A: Tensor, S: Tensor) -> Tensor:
        a, b, c, e = self.appearance.texture_phases_rad
        u = R * 0.29 + 1.7 * torch.sin(A * 0.061 + a)
        v = A * 0.25 + 1.9 * torch.sin(S * 0.053 + b)
        w = S * 0.21 + 1.5 * torch.sin(R * 0.071 + c)
        blobs = torch.sin(u + v + e) * torch.sin(v - w) * torch.sin(w + 0.4 * u)
        return 0.5 * (blobs - 0.4).clamp_min(0)

    def _abdomen(self, R: Tensor, A: Tensor, S: Tensor, edge_mm: float) -> tuple[Tensor, Tensor]:
        """Liver to the right, stomach to the left, and how much of a point is below the
        diaphragm."""
        look, chest = self.appearance, self.parameters
        y = chest.thorax_centre_mm[1]
        slope = ((R + 20) * 0.02).clamp(-1.0, 1.5)
        front = ((A - y) * (1 / chest.thorax_radii_mm[1])).square()
        dome = chest.diaphragm_mm + 9 * slope - 30 * front
        liver = look.liver * (
            1 + look.texture * torch.sin(R * 0.21) * torch.sin(A * 0.17 + S * 0.2)
        )
        border = R + 30 + 0.2 * A
        organ = paint(liver, 0.9 * look.fat, coverage(border.abs() - 3, 3 * edge_mm))
        organ = paint(organ, look.stomach, coverage(border + 3, edge_mm))
        return organ, coverage(S - dome, edge_mm)
