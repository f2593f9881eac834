"""The motion of the tissue that lay in a plane at ED, from what the plane shows later.

A short-axis plane stands still, and at ES shows tissue that lay nearer the base at ED: up to 15 mm.
Its tags say where it was *within* the plane, so that following tags gives U(X') of other tissue,
wider at the same place of the wall by an offset s: X' = X + s n, n outwards. Labels show s: tissue
that was on the border at ED is beside the border now, by m (negative inside) = -lambda_r s.

If the wall deforms alike a little higher up, with the same circumferential stretch lambda_c, then
the place of its border now is wider by lambda_c s, and the tissue of the plane has moved by

    u(X) = U(X) + (lambda_r - lambda_c) s n = U(X) - (1 - lambda_c / lambda_r) m n

which is between what tags say (0) and what labels say (1): about half-way at ES, all of the tags
where the wall does not deform. Twist differs with height, too; one plane does not show by how much,
nor whether a region that does not contract ends above the plane.

Both m and the factor are taken as slow functions of the angle around the LV.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from NISFCore.motion.contours import Contour
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.gauss_newton import FrameCoefficients, set_coefficients
from NISFCore.motion.images import ImageStack
from NISFCore.motion.refinement import TissuePoints, huber_weight
from NISFCore.motion.wall_labels import SLOW_ORDERS, angular_basis

HUBER_MM = 1.5
RIDGE = 3e-5
"""Of the change's coefficients, per point."""
ANGULAR_RIDGE = 1e-2
"""Of m's coefficients, per point: of a side where the wall is not shown nothing is made up."""


@torch.no_grad()
def follow_tissue(
    field: DisplacementField,
    tissue: TissuePoints,
    found: FrameCoefficients,
    contours: Sequence[Contour],
    n_orders: int = SLOW_ORDERS,
) -> FrameCoefficients:
    """Change a field that follows a plane's tags into that of the plane's tissue.

    Args:
        field: set to `found`.
        tissue: of the plane at ED.
        contours: the wall's borders in every frame; none leave the field as it is.
        n_orders: of the angle around the LV.
    """
    if not contours:
        return found
    basis = angular_basis(tissue.points, n_orders)
    inwards_mm = torch.stack(
        [
            (basis @ share_of_labels(tissue.points, F, n_orders)).clamp(0.0, 1.0)
            * (basis @ beside(field, contours, j, n_orders))
            for j, F in enumerate(field.gradient(tissue.points, found.times))
        ]
    )
    return narrowed(field, tissue, found, inwards_mm)


def narrowed(
    field: DisplacementField, tissue: TissuePoints, found: FrameCoefficients, inwards_mm: Tensor
) -> FrameCoefficients:
    """Move tissue towards the wall's middle now by so much `(n_times, n)`; sets the field."""
    h, moved = tissue.features, tissue.points + field.displacement(tissue.points, found.times)
    outwards = torch.nn.functional.normalize(moved - moved.mean(dim=1, keepdim=True), dim=-1)
    change = (-inwards_mm[..., None] * outwards).double()
    A = (h.T @ h).double()
    A.diagonal().add_(RIDGE * len(h))
    b = torch.einsum("nf,tnd->ftd", h.double(), change)
    more = torch.linalg.solve(A, b.flatten(1)).unflatten(1, change.shape[::2]).transpose(0, 1)
    changed = FrameCoefficients(found.times, found.values + more.to(found.values.dtype))
    set_coefficients(field, changed)
    return changed


@torch.no_grad()
def follow_expected_tissue(
    field: DisplacementField,
    tissue: TissuePoints,
    found: FrameCoefficients,
    contours: Sequence[Contour],
    taper_mm: float,
) -> FrameCoefficients:
    """The same where there are no tags, and the offset is only what it is on average: labels and
    images show the wall of tissue from nearer the base, lambda_c s too wide.

    Args:
        taper_mm: lambda_c s, per part of its radius that the endocardium has lost.
    """
    if not contours or taper_mm == 0:
        return found
    inwards_mm = taper_mm * contours[0].shown.shrinking
    return narrowed(field, tissue, found, inwards_mm[:, None].expand(-1, len(tissue.points)))


def share_of_labels(points: Tensor, F: Tensor, n_orders: int = SLOW_ORDERS) -> Tensor:
    """1 - lambda_c / lambda_r in [0, 1], a slow function of the angle: its coefficients.

    Args:
        points: `(n, 2)` local mm.
        F: `(n, 2, 2)` there.
    """
    radial = torch.nn.functional.normalize(points, dim=1)
    around = torch.stack([-radial[:, 1], radial[:, 0]], dim=1)
    lambda_r, lambda_c = ((F @ d[..., None])[..., 0].norm(dim=1) for d in (radial, around))
    share = 1 - lambda_c / lambda_r.clamp_min(1e-3)
    return torch.linalg.lstsq(angular_basis(points, n_orders), share[:, None]).solution[:, 0]


def beside(
    field: DisplacementField,
    contours: Sequence[Contour],
    frame: int,
    n_orders: int = SLOW_ORDERS,
) -> Tensor:
    """m in mm: how far tissue of the borders at ED is from the borders of a frame's labels, a slow
    function of the angle: its coefficients."""
    bases, distances, weights = [], [], []
    for contour in contours:
        moved = contour.points + field.displacement(contour.points, contour.times[[frame]])
        values = contour.distances.values[[frame], :1]
        seen = ImageStack(values, contour.distances.pixel_from_local).sample(moved)
        bases.append(angular_basis(contour.points, n_orders))
        distances.append(seen[0, 0])
        weights.append(contour.shown.at(frame, moved[0]))
    basis, m = torch.cat(bases), torch.cat(distances)
    w = torch.cat(weights) * huber_weight(m, HUBER_MM)
    A = w[:, None] * basis
    normal = A.T @ A
    normal.diagonal().add_(ANGULAR_RIDGE * len(m))
    return torch.linalg.solve(normal, A.T @ (w * m))
