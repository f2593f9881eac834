"""Checks that a fit must pass before anybody believes it: images, model, coverage, physiology.

Two kinds of limits. Of what the software itself measures (latent, PSNR, NCC, poses) they come from
fits of simulated studies that the prior was made for: beyond what these show, something is other
than the model. Of hearts they are wider than what cohorts with disease show, so that a flag means
"hardly a heart", not "a sick heart". `Limits.check` raises "check", `Limits.fail` "not reliable".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation

from NISFCore.analysis.fitted import n_cycle_phases
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.fitting.quality import QualityFlag, QualityReport, Verdict
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rotation_angle_deg
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import FOREGROUND, N_LABELS, Label
from NISFCore.model.config import HeartRegion
from NISFCore.model.shape_warp import WarpedDecoder
from NISFCore.views import View

Range = tuple[float | None, float | None]

SIMULATED = "fits of simulated studies (docs/quality.md)"
REFERENCE_RANGES = "Kawel-Boehm et al., JCMR 2020 (reference ranges), widened for disease"
BIOBANK = "Petersen et al., JCMR 2017 (UK Biobank), widened for disease"
CLINICAL = "Kramer et al., JCMR 2020 (standardised protocols)"

GRID_MM = 5.0
N_TIMES = 8
REACH_VOXELS = 3
"""What is farther from the heart at the first time is no heart at any other time either."""
EDGE_MM = 5.0
"""A label nearer to the border of the modelled region was perhaps cut off by it."""


@dataclass(frozen=True)
class Limits:
    """Of one figure.

    Attributes:
        name: of the figure.
        check, fail: (lowest, highest) allowed before a flag of that level is raised.
        source: where they come from.
        text: what a flag means and what to do.
    """

    name: str
    check: Range
    fail: Range
    source: str
    text: str

    def flag(self, value: float | None) -> QualityFlag:
        """The check of a value; nothing is wrong with what could not be measured."""
        level = Verdict.RELIABLE
        if value is not None and not np.isfinite(value):
            value, level = None, Verdict.NOT_RELIABLE
        elif value is not None and not _within(value, self.fail):
            level = Verdict.NOT_RELIABLE
        elif value is not None and not _within(value, self.check):
            level = Verdict.CHECK
        return QualityFlag(self.name, value, self.check, level, self.source, self.text)


LIMITS = (
    Limits(
        "latent_rms_sd",
        (None, 1.25),
        (None, 1.8),
        SIMULATED,
        "the heart's shape or look lies far outside what the prior has seen",
    ),
    Limits(
        "shape_warp_mm",
        (None, 6.0),
        (None, 15.0),
        SIMULATED,
        "the heart had to be bent far from every shape that the prior knows",
    ),
    Limits(
        "psnr_db",
        (17.0, None),
        (12.5, None),
        SIMULATED,
        "the model does not explain the images: other contrast, artefacts, or no heart",
    ),
    Limits(
        "intersection_ncc_after",
        (0.7, None),
        (0.4, None),
        SIMULATED,
        "crossing slices show different things where they meet: wrong views, or motion",
    ),
    Limits(
        "intersection_ncc_gain",
        (-0.01, None),
        (-0.1, None),
        SIMULATED,
        "crossing slices agree less after the fit than as scanned: do not trust slice motions",
    ),
    Limits(
        "largest_slice_motion_mm",
        (None, 12.0),
        (None, 25.0),
        SIMULATED,
        "a slice was moved farther than breath-holds differ",
    ),
    Limits(
        "global_shift_mm",
        (None, 22.0),
        (None, 35.0),
        SIMULATED,
        "the heart was found far from where the planes suggest",
    ),
    Limits(
        "global_turn_deg",
        (None, 22.0),
        (None, 40.0),
        SIMULATED,
        "the heart was found turned against what the planes suggest: check the views",
    ),
    Limits(
        "n_sa_slices",
        (5.0, None),
        (1.0, None),
        CLINICAL,
        "few short-axis slices: volumes depend on the prior more than on the images",
    ),
    Limits(
        "n_la_views",
        (1.0, None),
        (None, None),
        CLINICAL,
        "no long-axis view: base and apex are not seen, volumes are uncertain",
    ),
    Limits(
        "lv_seen_share",
        (0.8, None),
        (0.5, None),
        CLINICAL,
        "a part of the LV lies beyond the slices: base or apex is the prior's guess",
    ),
    Limits(
        "n_phases",
        (12.0, None),
        (None, None),
        CLINICAL,
        "few phases: end-systole may be missed; ejection fraction is not measured",
    ),
    Limits(
        "region_edge_share",
        (None, 0.04),
        (None, 0.15),
        SIMULATED,
        "the heart reaches the border of the modelled region and may be cut off",
    ),
    Limits("edv_ml", (50.0, 400.0), (25.0, 600.0), BIOBANK, "implausible LV end-diastolic volume"),
    Limits("ef_percent", (12.0, 82.0), (3.0, 92.0), BIOBANK, "implausible LV ejection fraction"),
    Limits("rv_edv_ml", (50.0, 420.0), (25.0, 650.0), BIOBANK, "implausible RV volume"),
    Limits("rv_ef_percent", (15.0, 82.0), (3.0, 92.0), BIOBANK, "implausible RV ejection fraction"),
    Limits("mass_g", (35.0, 350.0), (15.0, 550.0), BIOBANK, "implausible LV mass"),
    Limits(
        "mass_per_edv_g_ml",
        (0.3, 2.6),
        (0.15, 5.0),
        REFERENCE_RANGES,
        "the wall is implausibly thin or thick for its cavity",
    ),
    Limits(
        "stroke_volume_ratio",
        (0.6, 1.67),
        (0.3, 3.3),
        REFERENCE_RANGES,
        "LV and RV eject different volumes: a shunt or regurgitation, else a wrong border (the "
        "RV at its base, usually)",
    ),
)


def quality_of(result: FitResult) -> QualityReport:
    """Every check of a fit; about half a second.

    Args:
        result: with the figures of its crossing slices, where slices cross.
    """
    values = measured_quality(result)
    is_guided = "labels" in result.settings
    return QualityReport(is_guided, tuple(limit.flag(values.get(limit.name)) for limit in LIMITS))


def measured_quality(result: FitResult) -> dict[str, float]:
    """What the checks look at, by `Limits.name`; what cannot be measured is missing."""
    measures: tuple[Callable[[FitResult], dict[str, float]], ...] = (
        _model_figures,
        _slice_figures,
        _coverage_figures,
        _heart_figures,
    )
    return {name: value for measure in measures for name, value in measure(result).items()}


def _within(value: float, allowed: Range) -> bool:
    low, high = allowed
    return (low is None or value >= low) and (high is None or value <= high)


def _model_figures(result: FitResult) -> dict[str, float]:
    """How far latent and pose are from what is usual, and how well images are explained."""
    prior = result.prior
    d = result.parameters.latent.astype(np.float64) - prior.latent_mean.double().cpu().numpy()
    C = prior.latent_covariance.double().cpu().numpy()
    pose = result.parameters.global_pose
    figures = {
        "latent_rms_sd": float(np.sqrt(d @ np.linalg.solve(C, d) / len(d))),
        "psnr_db": result.figures.get("psnr_db", np.nan),
        "global_shift_mm": float(np.linalg.norm(pose[:3, 3])),
        "global_turn_deg": float(rotation_angle_deg(pose[:3, :3])),
    }
    before, after = (result.figures.get(f"intersection_ncc_{k}") for k in ("before", "after"))
    if before is not None and after is not None:
        figures |= {"intersection_ncc_after": after, "intersection_ncc_gain": after - before}
    return figures


def _slice_figures(result: FitResult) -> dict[str, float]:
    """Of the slice that was moved most."""
    moved = [m.distance_mm for m in result.parameters.slice_motion]
    return {"largest_slice_motion_mm": max(moved)}


def _coverage_figures(result: FitResult) -> dict[str, float]:
    study = result.study
    return {
        "n_sa_slices": float(len(study.of_view(View.SA))),
        "n_la_views": float(len({s.view for s in study.slices if s.view.is_long_axis})),
        "n_phases": float(n_cycle_phases(study)),
    }


# ---------------------------------------------------------------- the heart


def _heart_figures(result: FitResult) -> dict[str, float]:
    """Volumes on a coarse grid, how much of the LV the slices see, and what the region cuts."""
    points, shape = _grid_points(result.prior.info.decoder.region)
    n_times = 1 if n_cycle_phases(result.study) == 1 else N_TIMES
    curve, ed = _coarse_curve(result, points, shape, uniform_cycle_fractions(n_times))
    figures = _function_figures(curve)
    region = result.prior.info.decoder.region
    figures["region_edge_share"] = _share(_near_edge(points, region), ed[:, FOREGROUND].sum(axis=1))
    figures["lv_seen_share"] = _share(_seen(result, points), ed[:, Label.LV_BLOOD_POOL])
    return figures | _warp_figures(result, points[ed[:, Label.BACKGROUND] == 0])


def _warp_figures(result: FitResult, heart: Points) -> dict[str, float]:
    """How far the prior's heart is bent at canonical points `(n, 3)` of the heart, at the first
    time: root mean square, less the shift that all of them share, which is no shape."""
    decoder = result.decoder
    if not isinstance(decoder, WarpedDecoder) or not len(heart):
        return {}
    device = decoder.sd_mm.device
    points = torch.tensor(heart, dtype=torch.float32, device=device)
    with torch.inference_mode():
        code = torch.from_numpy(result.parameters.code).to(device)
        moved = decoder.warped(points, decoder.amplitudes_mm(code, 0.0)) - points
        bent = moved - moved.mean(0)
    return {"shape_warp_mm": float(bent.square().sum(1).mean().sqrt())}


def _function_figures(curve: VolumeCurve) -> dict[str, float]:
    f = VentricularFunction.from_curve(curve)
    figures = {"edv_ml": f.edv_ml, "rv_edv_ml": f.rv_edv_ml, "mass_g": f.mass_g}
    figures["mass_per_edv_g_ml"] = f.mass_g / f.edv_ml if f.edv_ml > 0 else np.nan
    if len(curve.cycle_fractions) > 1:
        ratio = f.rv_sv_ml / f.sv_ml if f.sv_ml > 0 else np.nan
        figures |= {"ef_percent": f.ef_percent, "rv_ef_percent": f.rv_ef_percent}
        figures["stroke_volume_ratio"] = ratio
    return figures


def _grid_points(region: HeartRegion) -> tuple[Points, tuple[int, ...]]:
    """One random point, always the same, in every cell of a canonical grid over the region."""
    centre, semi_axes = np.array(region.centre_mm), np.array(region.semi_axes_mm)
    steps = [np.arange(-a, a, GRID_MM) for a in semi_axes]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    jitter = np.random.default_rng(0).uniform(0, GRID_MM, cells.shape)
    return (cells + jitter).reshape(-1, 3) + centre, cells.shape[:3]


def _coarse_curve(
    result: FitResult,
    points: Points,
    shape: tuple[int, ...],
    times: npt.NDArray[np.float64],
) -> tuple[VolumeCurve, npt.NDArray[np.float32]]:
    """Volumes of the most probable labels, and these as one-hot `(n, 4)` at the first time."""
    field = result.field
    points_ras = apply_affine(np.linalg.inv(result.canonical_from_ras), points)

    def labels_at(points: Points, t: float) -> npt.NDArray[np.float32]:
        return np.eye(N_LABELS, dtype=np.float32)[field.evaluate(points, t).labels]

    first = labels_at(points_ras, float(times[0]))
    heart = (first[:, Label.BACKGROUND] == 0).reshape(shape)
    near = binary_dilation(heart, iterations=REACH_VOXELS).ravel()
    sums = [first.sum(axis=0)]
    for t in times[1:]:
        sums.append(labels_at(points_ras[near], float(t)).sum(axis=0))
    volumes = np.array(sums, dtype=np.float64).reshape(-1, N_LABELS) * GRID_MM**3 / 1000
    volumes[:, Label.BACKGROUND] = 0
    return VolumeCurve(times, volumes), first


def _share(mask: npt.NDArray[np.bool_], weights: npt.NDArray[np.float32]) -> float:
    total = float(weights.sum())
    return float(weights[mask].sum()) / total if total > 0 else np.nan


def _near_edge(points: Points, region: HeartRegion) -> npt.NDArray[np.bool_]:
    """Points `(n,)` within `EDGE_MM` of the region's border."""
    inner = np.array(region.semi_axes_mm) - EDGE_MM
    scaled = (points - np.array(region.centre_mm)) / inner
    return np.asarray((scaled**2).sum(axis=1) > 1)


def _seen(result: FitResult, points: Points) -> npt.NDArray[np.bool_]:
    """Points `(n,)` between the outermost SA slices, or everything where two LA views show it."""
    study = result.study
    if len({s.view for s in study.slices if s.view.is_long_axis}) >= 2:
        return np.ones(len(points), dtype=np.bool_)
    heights = [
        apply_affine(result.canonical_from_ras, pixel_centres_ras(s.ras_from_ijk, s.shape))[..., 2]
        for s in study.of_view(View.SA)
    ]
    if not heights:
        return np.zeros(len(points), dtype=np.bool_)
    middles = [float(np.median(h)) for h in heights]
    half_mm = max(s.thickness_mm for s in study.of_view(View.SA)) / 2
    low, high = min(middles) - half_mm, max(middles) + half_mm
    return np.asarray((points[:, 2] >= low) & (points[:, 2] <= high))
