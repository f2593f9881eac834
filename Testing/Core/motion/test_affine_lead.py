"""What corrects the expected place of a whole heart, against changes in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.motion.affine_lead import AffineLead
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.gauss_newton import coefficients_of
from NISFCore.motion.refinement import Rows, TissuePoints, tissue_points

CHANGE = torch.tensor([[0.04, -0.02, 0.0], [0.03, -0.05, 0.01], [0.0, 0.02, 0.12]])
SHIFT_MM = torch.tensor([0.5, -1.0, 6.0])


def heart(n_dims: int) -> TissuePoints:
    """Points of a shell of 20 to 30 mm, with features that reach beyond it."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(400, n_dims, generator=generator), dim=1)
    points = (20 + 10 * torch.rand(400, 1, generator=generator)) * directions
    placement = Placement(np.zeros(3), np.eye(3)[:n_dims], 25.0)
    config = FieldConfig(n_dims, (0.0, 1.0), n_features=150, omega=1.5, lowest_omega=0.05)
    return tissue_points(DisplacementField(config, placement), points)


@dataclass(frozen=True)
class Seen:
    """Says where some of the tissue is, and only along some axes."""

    tissue: TissuePoints
    u: Tensor
    axes: Tensor

    def rows(self, moment: float, C: Tensor) -> Rows:
        del moment
        r = (self.tissue.features @ C - self.u) @ self.axes.T
        J = [self.tissue.jacobian(axis.expand(len(self.u), -1)) for axis in self.axes]
        return r.T.flatten(), torch.cat(J)


def affine(points: Tensor) -> Tensor:
    n = points.shape[1]
    return points @ CHANGE[:n, :n].T + SHIFT_MM[:n]


@pytest.mark.parametrize("n_dims", [2, 3])
def test_an_affine_change_is_found(n_dims: int) -> None:
    tissue = heart(n_dims)
    u = affine(tissue.points)
    lead = AffineLead(tissue, [Seen(tissue, u, torch.eye(n_dims))])
    C = lead.corrected(torch.zeros(tissue.features.shape[1], n_dims), 0.5)
    assert float(u.norm(dim=1).mean()) > 1.0
    assert float((tissue.features @ C - u).norm(dim=1).max()) < 0.05


def test_a_change_goes_on_from_what_is_expected() -> None:
    tissue = heart(3)
    bulge = torch.stack([0.01 * tissue.points[:, 1].square(), *torch.zeros(2, 400)], dim=1)
    expected = coefficients_of(tissue.features, torch.zeros(1), bulge[None]).values[0]
    u = bulge + affine(tissue.points + bulge)
    lead = AffineLead(tissue, [Seen(tissue, u, torch.eye(3))])
    found = tissue.features @ lead.corrected(expected, 0.5)
    assert float((found - u).norm(dim=1).mean()) < 0.1


def test_only_the_whole_heart_is_moved() -> None:
    # one side says otherwise: the rest follows as far as an affine change can
    tissue = heart(3)
    bulge = torch.stack([3.0 * (tissue.points[:, 0] > 0).float(), *torch.zeros(2, 400)], dim=1)
    lead = AffineLead(tissue, [Seen(tissue, bulge, torch.eye(3))])
    C = lead.corrected(torch.zeros(tissue.features.shape[1], 3), 0.5)
    u = tissue.features @ C
    X = torch.cat([tissue.points, torch.ones(400, 1)], dim=1)
    fitted = X @ torch.linalg.lstsq(X, u).solution
    assert float((u - fitted).norm(dim=1).max()) < 0.05
    assert float((u - bulge).norm(dim=1).max()) > 0.5


def test_what_no_term_sees_stays() -> None:
    tissue = heart(3)
    u = affine(tissue.points)
    lead = AffineLead(tissue, [Seen(tissue, u, torch.eye(3)[:2])])
    C = lead.corrected(torch.zeros(tissue.features.shape[1], 3), 0.5)
    found = tissue.features @ C
    assert float(found[:, 2].abs().max()) < 0.05
    assert float((found - u)[:, :2].norm(dim=1).max()) < 0.05
