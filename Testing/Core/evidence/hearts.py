"""What the evidence tests share: a small library, a study of one phantom, networks that know."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.evidence.channels import COORDINATES, MM_PER_COORDINATE
from NISFCore.evidence.library import PlaneLibrary, PlaneMix, build_library
from NISFCore.evidence.network import NetworkConfig, NetworkInfo, SliceNetwork
from NISFCore.evidence.window import WindowGrid
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.views import View

SMALL = NetworkConfig(WindowGrid(64, 2.6), (16, 16, 16))
MIX = PlaneMix(n_short_axis=4, n_long_axis=3, n_oblique=1)


@cache
def small_library() -> PlaneLibrary:
    """Eight planes of each of two hearts."""
    return build_library(2, 5, MIX)


class BlobNetwork(nn.Module):
    """Says LV blood within 25 mm of a canonical point, RV blood within 15 mm of another, whatever
    the image shows: what comes back must lie there."""

    LV_MM, LV_RADIUS_MM = (0.0, 0.0, 0.0), 25.0
    RV_MM, RV_RADIUS_MM = (45.0, 10.0, 5.0), 15.0

    def forward(self, inputs: Tensor) -> Tensor:
        mm = inputs[:, COORDINATES] * MM_PER_COORDINATE
        logits = torch.zeros(len(inputs), N_LABELS, *inputs.shape[-2:])
        logits[:, Label.BACKGROUND] = 0.0
        logits[:, Label.LV_MYOCARDIUM] = -50.0
        for label, centre, radius in (
            (Label.LV_BLOOD_POOL, self.LV_MM, self.LV_RADIUS_MM),
            (Label.RV_BLOOD_POOL, self.RV_MM, self.RV_RADIUS_MM),
        ):
            gap = (mm - torch.tensor(centre).reshape(1, 3, 1, 1)).norm(dim=1)
            logits[:, label] = 4.0 * (radius - gap)
        return logits


def blob_network() -> SliceNetwork:
    """A network that needs no training."""
    return SliceNetwork(NetworkInfo(NetworkConfig()), BlobNetwork())  # type: ignore[arg-type]


def still_study(*maps: Affine, shape: tuple[int, int] = (90, 110), n_phases: int = 5) -> CineStudy:
    """A study of noise on the planes `ras_from_ijk`."""
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 800.0, n_phases, endpoint=False, dtype=np.float64)
    slices = [
        CineSlice(
            f"SA_{k + 1:02d}",
            View.SA,
            rng.random((n_phases, *shape), dtype=np.float32),
            A,
            float(np.linalg.norm(A[:3, 2])),
            times,
            800.0,
        )
        for k, A in enumerate(maps)
    ]
    return CineStudy(tuple(slices))
