"""Appendix C: fits without a point-spread function, with ours and with the paper's.

Banding is what the paper sees without a PSF: the reconstruction looks different where a slice lay
than between slices. Along lines parallel to the SA normal through the heart, the error of the
fitted intensity (minus the true one) is projected onto a cosine with the period of the slice
spacing and its crests on the slices: `banding` is the RMS amplitude over lines and times. The sine
of the same period, whose zeros lie on the slices, says how much there is by chance: `chance`.
Banding is there where the first exceeds the second.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.evaluation import motion_errors
from NISFCore.analysis.rendering import evaluate_points, render_plane
from NISFCore.benchmark.misalignment import before_after
from NISFCore.benchmark.store import Arrays
from NISFCore.fitting.config import DEFAULT, FitConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.model.prior import Prior
from NISFCore.model.psf import NO_PSF, PAPER_PSF, PsfConfig
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.progress import CancelToken
from NISFCore.views import View

VARIANTS = {"none": NO_PSF, "through-plane, 3 points": PsfConfig(), "Monte Carlo, 16": PAPER_PSF}
LINE_STEP_MM, POINT_STEP_MM = 6.0, 1.0
TIMES = (0.0, 0.35)


def psf_ablation(
    simulated: SimulatedStudy,
    prior: Prior,
    cancel: CancelToken | None = None,
    config: FitConfig = DEFAULT,
) -> tuple[dict[str, Any], Arrays]:
    """Variant → PSNR, slice errors, banding, seconds; and a long-axis picture of each."""
    assert config.gauss_newton is not None  # the default solver
    figures: dict[str, Any] = {}
    arrays: Arrays = {}
    for name, psf in VARIANTS.items():
        variant = replace(config, gauss_newton=replace(config.gauss_newton, psf=psf))
        result = fit_study(simulated.study, prior, variant, device="cpu", cancel=cancel)
        after = before_after(result, simulated.truth)["after"]
        figures[name] = {
            "psnr_db": result.figures["psnr_db"],
            "distance_mm": float(np.mean(after["distance_mm"])),
            "angle_deg": float(np.mean(after["angle_deg"])),
            "seconds": result.seconds["fit"],
            **banding(result, simulated.truth, cancel),
        }
        arrays[f"{name}/plane"] = _picture(result, cancel)
    arrays["image"] = _image(result)
    return figures, arrays


def banding(
    result: FitResult, truth: PhantomTruth, cancel: CancelToken | None = None
) -> dict[str, float]:
    """RMS amplitudes `banding` and `chance` of the intensity (1 is about the brightest blood)."""
    stack = result.study.of_view(View.SA)
    normal = stack[0].normal_ras
    depths = np.sort([cine.centre_ras @ normal for cine in stack])
    spacing_mm = float(np.median(np.diff(depths)))
    lines = lines_along(truth, normal, float(depths[0]), float(depths[-1]))
    T = motion_errors(result, truth)[1].truth_from_estimate
    amplitudes = []
    for t in TIMES:
        flat = lines.reshape(-1, 3)
        seen = apply_affine(T, flat)
        error = evaluate_points(result.field, flat, t, cancel).intensity.astype(np.float64)
        error -= evaluate_points(truth, seen, t, cancel).intensity
        is_heart = (truth.labels(seen, t) > 0).reshape(lines.shape[:2])
        phase = 2 * np.pi * (lines @ normal - depths[0]) / spacing_mm
        amplitudes.append(locked_amplitudes(error.reshape(lines.shape[:2]), phase, is_heart))
    both = np.concatenate(amplitudes, axis=1)
    rms = np.sqrt(np.mean(both**2, axis=1))
    return {"banding": float(rms[0]), "chance": float(rms[1])}


def locked_amplitudes(
    error: npt.NDArray[np.float64],
    phase: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Cosine and sine amplitude `(2, n_lines)` of errors `(n_lines, n)` at phases `(n_lines, n)`.

    By least squares with a constant and a slope beside them, over the masked points; lines with
    fewer than two periods of points are left out.
    """
    found = []
    for e, p, m in zip(error, phase, mask, strict=True):
        if m.any() and np.ptp(p[m]) >= 4 * np.pi:
            design = np.stack([np.cos(p[m]), np.sin(p[m]), np.ones(m.sum()), p[m]], axis=1)
            found.append(np.linalg.lstsq(design, e[m], rcond=None)[0][:2])
    return np.array(found).T.reshape(2, -1)


def lines_along(truth: PhantomTruth, normal: Points, first_mm: float, last_mm: float) -> Points:
    """Points `(n_lines, n, 3)` on lines along a stack's normal, through the heart's box."""
    box = truth.box
    centre = apply_affine(box.ras_from_box, (box.low_mm + box.high_mm) / 2)
    across = np.linalg.svd(normal[None])[2][1:]
    radius = float(np.linalg.norm(box.high_mm - box.low_mm)) / 2
    steps = np.arange(-radius, radius + 1e-9, LINE_STEP_MM)
    a, b = np.meshgrid(steps, steps)
    feet = centre + a.reshape(-1, 1) * across[0] + b.reshape(-1, 1) * across[1]
    feet = feet - (feet @ normal)[:, None] * normal
    depths = np.arange(first_mm, last_mm + 1e-9, POINT_STEP_MM)
    return feet[:, None] + depths[:, None] * normal


def _picture(result: FitResult, cancel: CancelToken | None) -> npt.NDArray[np.float32]:
    """The reconstruction on a long-axis plane, at ED."""
    cine = result.study.of_view(View.LA_3CH)[0]
    index = [s.name for s in result.study.slices].index(cine.name)
    where = result.slice_motions[index] @ cine.ras_from_ijk
    return render_plane(result.field, where, cine.shape, [0.0], cancel).intensity[0]


def _image(result: FitResult) -> npt.NDArray[np.float32]:
    return result.study.of_view(View.LA_3CH)[0].frames[0]
