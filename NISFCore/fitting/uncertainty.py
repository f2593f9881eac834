"""What the Laplace approximation says of the answer: standard errors of slice motions and volumes.

The posterior's covariance is in the solver's unknowns; a slice motion is reported with the motion
common to all slices taken out (the gauge, see `problem.fitted_parameters`), so its covariance is
that of the difference, to first order. With p a point of slice j, weights summing to one over all
slices, and [p]_x the matrix of the cross product,

    displacement of p     d = B_j(p) (w_j, t_j),   B_j(p) = (-[p - c_j]_x, 1)
    common motion (a, b)  = argmin sum_p |B_j(p) (w_j, t_j) - B_0(p) (a, b)|^2
                          = sum_j L_j (w_j, t_j)
    reported              (w_j - a,  t_j - b + [c_j - c_0]_x a)

A prior that was trained on few hearts, or on simulated ones, explains images less well than it
believes; `Calibration` holds by how much errors on subjects of known truth exceeded these.
"""

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineStudy
from NISFCore.fitting.problem import Posterior, slice_corners_ras
from NISFCore.fitting.result import FitUncertainty
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.model.prior import Calibration
from NISFCore.model.voxels import VoxelTable

Matrix = npt.NDArray[np.float64]


def fit_uncertainty(
    posterior: Posterior,
    study: CineStudy,
    frame: CanonicalFrame,
    table: VoxelTable,
    calibration: Calibration,
) -> FitUncertainty:
    """Covariances of the code (latent and warp) and of every slice's motion, in RAS."""
    covariance = posterior.covariance.cpu().numpy()
    A = posterior.latent_factor.cpu().numpy()
    n_code, n_slices = len(A), len(study.slices)
    first = n_code + GLOBAL
    motion = [first + PER_SLICE * j + k for j in range(n_slices) for k in range(6)]
    ras_from_canonical = invert_rigid(frame.canonical_from_ras)[:3, :3]
    turn = np.kron(np.eye(2 * n_slices), ras_from_canonical)
    in_ras = turn @ covariance[np.ix_(motion, motion)] @ turn.T
    Q = _gauge_projection(study, table)
    blocks = (Q @ in_ras @ Q.T).reshape(n_slices, 6, n_slices, 6)
    own = np.stack([blocks[j, :, j] for j in range(n_slices)])
    factor = np.repeat([calibration.rotation, calibration.translation], 3)
    return FitUncertainty(
        code_covariance=A @ covariance[:n_code, :n_code] @ A.T * calibration.volume**2,
        motion_covariance=own * np.outer(factor, factor),
    )


def _gauge_projection(study: CineStudy, table: VoxelTable) -> Matrix:
    """`(6 n_slices, 6 n_slices)`: from the solver's slice motions (rotation vector, shift) to the
    reported ones."""
    corners, weights = slice_corners_ras(study, table)
    centres = [s.centre_ras for s in study.slices]
    c_0 = np.average(np.concatenate(corners), axis=0, weights=np.concatenate(weights))
    N, parts = np.zeros((6, 6)), []
    for points, w, c in zip(corners, weights, centres, strict=True):
        part = np.zeros((6, 6))
        for p, weight in zip(points, w, strict=True):
            B_0, B_j = _displacement(p - c_0), _displacement(p - c)
            N += weight * B_0.T @ B_0
            part += weight * B_0.T @ B_j
        parts.append(part)
    L = np.linalg.solve(N, np.concatenate(parts, axis=1))
    common = np.concatenate([_moved_to(c - c_0) @ L for c in centres])
    return np.eye(6 * len(centres)) - common


def _displacement(arm: Matrix) -> Matrix:
    """B `(3, 6)`: what a small rotation and shift do to a point at `arm` from the centre."""
    return np.concatenate([-_cross_matrix(arm), np.eye(3)], axis=1)


def _moved_to(arm: Matrix) -> Matrix:
    """`(6, 6)`: a motion about one centre, written about another one `arm` away."""
    M = np.eye(6)
    M[3:, :3] = -_cross_matrix(arm)
    return M


def _cross_matrix(v: Matrix) -> Matrix:
    x, y, z = v
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
