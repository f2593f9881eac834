"""Fit results without a fit: random images on oblique planes, random unknowns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.fitting.preparation import cropped_to_region
from NISFCore.fitting.problem import Estimate, Posterior, fitted_parameters
from NISFCore.fitting.result import FitResult, FitStep
from NISFCore.fitting.uncertainty import fit_uncertainty
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import invert_rigid, rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import Prior, PriorInfo
from NISFCore.model.receive_gain import N_GAIN
from NISFCore.model.voxels import VoxelTable, inside_region, voxel_table
from NISFCore.views import View

N_LATENT = 4
CONFIG = DecoderConfig(
    n_latent=N_LATENT, width=24, n_blocks=1, layers_per_block=2, n_space_bands=4, n_time_bands=2
)
VIEWS = (View.SA, View.SA, View.LA_2CH, View.LA_4CH)


@dataclass(frozen=True)
class Made:
    """A result and what it was made from."""

    result: FitResult
    estimate: Estimate
    table: VoxelTable


def random_prior(seed: int = 0) -> Prior:
    """An untrained decoder with contrast."""
    torch.manual_seed(seed)
    decoder = Decoder(CONFIG)
    with torch.no_grad():
        decoder.head.weight.mul_(10.0)
    decoder.requires_grad_(False).eval()
    info = PriorInfo(CONFIG, n_subjects=3, name="random")
    return Prior(info, decoder, torch.randn(N_LATENT) * 0.1, torch.eye(N_LATENT) * 0.3 + 0.1)


def random_rigid(rng: np.random.Generator, mm: float) -> Affine:
    """Any rotation, and a shift of standard deviation `mm` per component."""
    return rigid(rotation_from_rotvec(rng.normal(0, 1.5, 3)), rng.normal(0, mm, 3))


def random_slice(
    rng: np.random.Generator, name: str, view: View, canonical_from_ras: Affine
) -> CineSlice:
    """Noise on a plane of any orientation that passes within a few mm of the heart's middle."""
    shape, spacing, thickness, n_phases = (34, 40), (3.5, 4.0), 7.0, 3
    A = rigid(rotation_from_rotvec(rng.normal(0, 1.5, 3)), np.zeros(3))
    A[:3, :3] = A[:3, :3] * [*spacing, thickness]
    middle = [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0]
    A[:3, 3] = np.array([14.0, 0.0, 4.0]) + rng.normal(0, 8.0, 3) - A[:3, :3] @ middle
    labels = SliceLabels(
        rng.integers(0, 4, (n_phases, *shape)).astype(np.uint8), np.array([True, False, True])
    )
    return CineSlice(
        name=name,
        view=view,
        frames=rng.uniform(1, 900, (n_phases, *shape)).astype(np.float32),
        ras_from_ijk=invert_rigid(canonical_from_ras) @ A,
        thickness_mm=thickness,
        trigger_times_ms=np.array([10.0, 300.0, 700.0]),
        rr_interval_ms=float(rng.uniform(700, 1000)),
        labels=labels,
    )


def random_poses(n_slices: int, seed: int, dtype: torch.dtype = torch.float32) -> Poses:
    """Large motions, so that nothing that is only nearly right passes."""
    g = torch.Generator().manual_seed(seed)

    def rows(n: int, sd: float) -> torch.Tensor:
        return torch.randn(n, 3, generator=g, dtype=torch.float64).to(dtype) * sd

    log_scale = rows(n_slices, 0.1)[:, 0]
    pose, motion = (rows(1, 0.2), rows(1, 5.0)), (rows(n_slices, 0.1), rows(n_slices, 4.0))
    gain = rows(N_GAIN // 3, 0.1).reshape(1, N_GAIN)
    offset = rows(N_LABELS, 0.05)[:, :1].T
    return Poses(*pose, *motion, log_scale, gain, offset)


def made_result(seed: int = 0, dtype: torch.dtype = torch.float32) -> Made:
    """A whole result of `VIEWS`, in a frame of any orientation."""
    rng = np.random.default_rng(seed)
    prior = random_prior()
    frame = CanonicalFrame(random_rigid(rng, 60.0), ("no 4-chamber view: assumed ä",))
    slices = tuple(
        random_slice(rng, f"{view.value}_{k}", view, frame.canonical_from_ras)
        for k, view in enumerate(VIEWS)
    )
    study = cropped_to_region(
        CineStudy(slices, f"subject {seed} ä"), frame, prior.info.decoder.region
    )
    table = voxel_table(study, frame, prior.info.decoder.region)
    latent = torch.from_numpy(rng.normal(0, 0.5, (1, N_LATENT))).to(dtype)
    estimate = Estimate(latent, random_poses(len(study.slices), seed, dtype))
    return Made(result_of(estimate, study, frame, table, prior), estimate, table)


def result_of(
    estimate: Estimate, study: CineStudy, frame: CanonicalFrame, table: VoxelTable, prior: Prior
) -> FitResult:
    """The result that a solver's estimate stands for."""
    return FitResult(
        study=study,
        prior=prior,
        frame=frame,
        parameters=fitted_parameters(estimate, study, frame, table),
        history=(FitStep("fit", 1, 12.5, 17.0, 0.1), FitStep("fit", 2, 9.5, 20.0, 0.2)),
        settings={"fit": {"seed": 0}, "device": "cpu"},
        figures={"psnr_db": 20.0},
        seconds={"prepare": 0.1, "fit": 0.3},
        uncertainty=fit_uncertainty(
            random_posterior(len(study.slices)), study, frame, table, prior.info.calibration
        ),
    )


def random_posterior(n_slices: int, seed: int = 0) -> Posterior:
    """Any covariance: degrees, millimetres and correlations between everything."""
    n = N_LATENT + GLOBAL + PER_SLICE * n_slices
    g = torch.Generator().manual_seed(seed)
    per_slice = [0.02] * 3 + [0.8] * 3 + [0.05]
    sd = torch.tensor(
        [0.3] * N_LATENT
        + [0.05] * 3
        + [2.0] * 3
        + [0.1] * (N_GAIN + N_LABELS)
        + per_slice * n_slices
    )
    factor = sd[:, None] * torch.randn(n, 2 * n, generator=g, dtype=torch.float64)
    mixing = torch.randn(N_LATENT, N_LATENT, generator=g, dtype=torch.float64)
    return Posterior(factor @ factor.T / (2 * n), mixing.tril() + torch.eye(N_LATENT))


def region_points_ras(made: Made, index: int) -> npt.NDArray[np.float64]:
    """The fitted pixels `(n, 3)` of a slice as scanned, in the order of the voxel table."""
    cine = made.result.study.slices[index]
    return pixel_centres_ras(cine.ras_from_ijk, cine.shape)[region_pixels(made, index)]


def region_pixels(made: Made, index: int) -> npt.NDArray[np.bool_]:
    """Which pixels `(rows, cols)` of a slice are fitted."""
    cine = made.result.study.slices[index]
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    canonical = apply_affine(made.result.frame.canonical_from_ras, points)
    return inside_region(canonical, made.result.prior.info.decoder.region)
