"""Studies whose truth is exact: a small decoder teaches what its own slices look like.

The decoder is first taught an analytic heart that beats (ellipsoids with a little texture), so
that it is smooth and its latent means something. Slices are then rendered from the decoder itself,
at known places, with known latent, motions and gains: nothing but the solver stands between them
and a perfect answer. Rendering goes through RAS and numpy, not through the forward model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.fitting.heart import FittedHeart
from NISFCore.geometry.frame import TYPICAL_BASE_FROM_APEX_RAS, TYPICAL_RV_FROM_LV_RAS
from NISFCore.geometry.planes import normal_ras, pixel_centres_ras
from NISFCore.geometry.rigid import invert_rigid, rigid, rigid_about, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.config import DecoderConfig, HeartRegion
from NISFCore.model.decoder import Decoder
from NISFCore.model.prior import Prior, PriorInfo
from NISFCore.model.psf import SIGMA_PER_FWHM, gauss_hermite
from NISFCore.model.shape_warp import AnyDecoder, ShapeWarp, WarpedDecoder
from NISFCore.views import View

N_LATENT = 3
CONFIG = DecoderConfig(
    n_latent=N_LATENT,
    width=48,
    n_blocks=2,
    layers_per_block=2,
    n_space_bands=4,
    n_time_bands=2,
    predicts_noise=False,
)
CONTRAST = torch.tensor([0.3, 0.95, 0.15, 0.8])
CENTRE = torch.tensor(CONFIG.region.centre_mm)
SEMI_AXES = torch.tensor(CONFIG.region.semi_axes_mm)
LA_ANGLES_DEG = {View.LA_2CH: 111.0, View.LA_3CH: 59.0, View.LA_4CH: 0.0}


def analytic_heart(
    x: torch.Tensor, cycle_fraction: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Intensity `(n,)` and label probabilities `(n, 4)` at canonical points `(n, 3)`.

    u `(n, 3)`: size of the LV, stroke, size of the RV, each about standard normal.
    """
    s = 1 - (0.25 + 0.05 * u[:, 1:2]) * torch.sin(torch.pi * cycle_fraction)[:, None] ** 2
    size = torch.exp(0.1 * u)
    blood = torch.tensor([24.0, 22.0, 44.0]) * size[:, :1] * s
    epi = torch.tensor([35.0, 33.0, 54.0]) * size[:, :1] * (2 + s) / 3
    rv = torch.tensor([22.0, 30.0, 40.0]) * size[:, 2:] * s
    blood_mm, epi_mm = _margin_mm(x, blood), _margin_mm(x, epi)
    rv_mm = _margin_mm(x - torch.tensor([48.0, 0.0, 4.0]), rv)
    margins = [torch.zeros(len(x)), blood_mm, torch.minimum(epi_mm, -blood_mm), rv_mm]
    probabilities = torch.softmax(torch.stack(margins, dim=1) / 2.0, dim=1)
    waves = torch.sin(x @ torch.tensor([[0.12, 0.05], [0.04, -0.11], [0.07, 0.09]]))
    # fat around the heart: something bright in every slice, as in a patient
    fat = torch.exp(-((((x - CENTRE).div(SEMI_AXES).norm(dim=1) - 0.9) / 0.1) ** 2))
    return probabilities @ CONTRAST + 0.06 * waves.sum(1) + 0.6 * fat, probabilities


def _margin_mm(x: torch.Tensor, semi_axes_mm: torch.Tensor) -> torch.Tensor:
    """About the distance to an ellipsoid's surface, positive inside."""
    return (1 - (x / semi_axes_mm).norm(dim=1)) * semi_axes_mm.amin(dim=1)


@cache
def teacher_prior() -> Prior:
    """A small prior that has learned the analytic heart; its latent is u / 2."""
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder = Decoder(CONFIG)
    n_steps, n = 300, 2048
    optimiser = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    for _ in range(n_steps):
        x = (torch.rand(n, 3, generator=g) - 0.5) * 150
        t, u = torch.rand(n, generator=g), torch.randn(n, N_LATENT, generator=g)
        intensity, probabilities = analytic_heart(x, t, u)
        output = decoder(x, t, u / 2)
        log_p = torch.log_softmax(output.label_logits, dim=1)
        loss = (output.intensity - intensity).square().mean() - 0.02 * (
            probabilities * log_p
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    optimiser.zero_grad()
    decoder.requires_grad_(False).eval()
    info = PriorInfo(CONFIG, n_subjects=8, name="teacher")
    return Prior(info, decoder, torch.zeros(N_LATENT), torch.eye(N_LATENT) * 0.25)


def everywhere(decoder: Decoder) -> Decoder:
    """The same decoder, known everywhere: real images do not end at the modelled region."""
    region = HeartRegion(semi_axes_mm=(500.0, 500.0, 500.0))
    wide = Decoder(replace(decoder.config, region=region))
    wide.load_state_dict(decoder.state_dict())
    return wide.requires_grad_(False).eval()


def ras_from_planned() -> Affine:
    """The canonical frame in which the planes were planned, oblique as in a patient."""
    z = TYPICAL_BASE_FROM_APEX_RAS / np.linalg.norm(TYPICAL_BASE_FROM_APEX_RAS)
    x = TYPICAL_RV_FROM_LV_RAS - (TYPICAL_RV_FROM_LV_RAS @ z) * z
    x = x / np.linalg.norm(x)
    return rigid(np.stack([x, np.cross(z, x), z], axis=1), [-35.0, 12.0, 40.0])


def plane(
    centre_mm: Sequence[float],
    i_axis: Sequence[float],
    j_axis: Sequence[float],
    shape: tuple[int, int] = (46, 54),
    spacing_mm: tuple[float, float] = (3.0, 3.2),
    thickness_mm: float = 8.0,
) -> Affine:
    """`ras_from_ijk` of a frame given by its centre and axes in the planned frame."""
    i, j = np.asarray(i_axis, dtype=float), np.asarray(j_axis, dtype=float)
    columns = [i * spacing_mm[0], j * spacing_mm[1], np.cross(i, j) * thickness_mm]
    A = rigid(np.stack(columns, axis=1), np.zeros(3))
    A[:3, 3] = centre_mm - A[:3, :3] @ [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0]
    return ras_from_planned() @ A


def usual_planes() -> dict[str, tuple[View, Affine]]:
    """Six SA planes from base to apex and three LA planes, by name."""
    planes = {
        f"SA_{k + 1:02d}": (View.SA, plane([8.0, -3.0, z], [1, 0, 0], [0, -1, 0]))
        for k, z in enumerate([35.0, 21.0, 7.0, -7.0, -21.0, -35.0])
    }
    for view, degrees in LA_ANGLES_DEG.items():
        a = np.deg2rad(degrees)
        across = [np.cos(a), np.sin(a), 0]
        planes[view.value] = (view, plane([5 * np.cos(a), 5 * np.sin(a), 2.0], across, [0, 0, -1]))
    return planes


@dataclass(frozen=True)
class Teacher:
    """The truth of a study.

    Attributes:
        study: what the scanner made of it, with labels.
        heart: the decoder in its true place.
        latent: `(n_latent,)` of the heart.
        motions: `(4, 4)` true_from_scanned in RAS of every slice.
        gains: image intensity of decoder intensity one, of every slice.
    """

    study: CineStudy
    heart: FittedHeart
    latent: npt.NDArray[np.float32]
    motions: tuple[Affine, ...]
    gains: npt.NDArray[np.float64]


def teacher_study(
    views: tuple[View, ...] = tuple(View),
    seed: int = 0,
    motion_mm: float = 3.0,
    motion_deg: float = 1.5,
    global_mm: float = 2.0,
    global_deg: float = 2.0,
    n_psf_nodes: int = 3,
    n_phases: int = 8,
    warp: ShapeWarp | None = None,
) -> Teacher:
    """Render a study from the teacher's decoder; deviations are standard, per component."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(0, 0.4, N_LATENT).astype(np.float32)
    turn = rotation_from_rotvec(rng.normal(0, np.deg2rad(global_deg), 3))
    planned_from_ras = invert_rigid(ras_from_planned())
    true_from_planned = rigid(turn, rng.normal(0, global_mm, 3))
    no_offset = np.zeros(N_LABELS)
    decoder, code = _decoder_and_code(latent, warp)
    heart = FittedHeart(decoder, code, true_from_planned @ planned_from_ras, no_offset)
    slices, motions, gains = [], [], []
    for name, (view, ras_from_ijk) in usual_planes().items():
        shape = (46, 54)
        centre = apply_affine(ras_from_ijk, [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0])
        rotvec = rng.normal(0, np.deg2rad(motion_deg), 3)
        motion = rigid_about(centre, rotvec, rng.normal(0, motion_mm, 3))
        gain = 800.0 * np.exp(rng.normal(0, 0.08))
        if view in views:
            t = (np.arange(n_phases) + rng.uniform(0, 0.9)) / n_phases
            geometry = (ras_from_ijk, shape, motion)
            slices.append(_imaged(heart, name, view, geometry, gain, t, n_psf_nodes))
            motions.append(motion)
            gains.append(gain)
    study = CineStudy(tuple(slices), "teacher")
    return Teacher(study, heart, latent, tuple(motions), np.array(gains))


def _decoder_and_code(
    latent: npt.NDArray[np.float32], warp: ShapeWarp | None
) -> tuple[AnyDecoder, npt.NDArray[np.float32]]:
    decoder = teacher_prior().decoder
    if warp is None:
        return everywhere(decoder), latent
    # its waves are those of the modelled region, so its heart ends there
    return WarpedDecoder(decoder, warp.modes), np.append(latent, warp.coefficients)


def _imaged(
    heart: FittedHeart,
    name: str,
    view: View,
    geometry: tuple[Affine, tuple[int, int], Affine],
    gain: float,
    cycle_fractions: npt.NDArray[np.float64],
    n_psf_nodes: int,
) -> CineSlice:
    ras_from_ijk, shape, motion = geometry
    thickness = float(np.linalg.norm(ras_from_ijk[:3, 2]))
    scanned = pixel_centres_ras(ras_from_ijk, shape).reshape(-1, 3)
    profile = _profile(ras_from_ijk, thickness, n_psf_nodes)
    frames, labels = [], []
    for t in cycle_fractions:
        samples = [
            (w, heart.evaluate(apply_affine(motion, scanned + offset), float(t)))
            for w, offset in profile
        ]
        frames.append(gain * sum(w * sample.intensity for w, sample in samples))
        labels.append(samples[len(samples) // 2][1].labels)
    rr_interval_ms = 900.0
    values = np.stack(labels).reshape(-1, *shape)
    return CineSlice(
        name=name,
        view=view,
        frames=np.stack(frames).reshape(-1, *shape).astype(np.float32),
        ras_from_ijk=ras_from_ijk,
        thickness_mm=thickness,
        trigger_times_ms=cycle_fractions * rr_interval_ms,
        rr_interval_ms=rr_interval_ms,
        labels=SliceLabels(values, np.ones(len(values), dtype=bool)),
    )


def _profile(ras_from_ijk: Affine, thickness_mm: float, n: int) -> list[tuple[float, Points]]:
    """Weights and offsets through the slice; one node at its middle is no blur."""
    nodes, weights = gauss_hermite(n)
    sigma = thickness_mm * SIGMA_PER_FWHM
    normal = normal_ras(ras_from_ijk)
    return [(float(w), float(z) * sigma * normal) for z, w in zip(nodes, weights, strict=True)]
