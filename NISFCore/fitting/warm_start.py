"""The unknowns of a solver from the parameters of a finished fit: where a refit begins."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.fitting.problem import Estimate
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.rigid import rotvec_from_rotation
from NISFCore.model.motion_correction import Poses
from NISFCore.model.shape_warp import WarpModes


def estimate_of(result: FitResult, modes: WarpModes | None = None) -> Estimate:
    """The inverse of `problem.fitted_parameters`, for the slices of `result.study`.

    Args:
        modes: of the warp of fits to come, where `result` has none.
    """
    p, R = result.parameters, result.frame.canonical_from_ras[:3, :3]
    pose, code = p.global_pose, p.code
    if p.warp is None and modes is not None:
        code = np.concatenate([code, np.zeros(modes.n_coefficients)])
    return Estimate(
        _float32(code)[None],
        Poses(
            _float32(rotvec_from_rotation(pose[:3, :3]))[None],
            _float32(pose[:3, 3])[None],
            _float32(np.stack([R @ motion.rotvec_rad for motion in p.slice_motion])),
            _float32(np.stack([R @ motion.translation_mm for motion in p.slice_motion])),
            _float32(np.log(p.intensity_scale)),
            _float32(p.log_gain)[None],
            _float32(p.tissue_offset)[None],
        ),
    )


def _float32(values: npt.NDArray[np.floating]) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
