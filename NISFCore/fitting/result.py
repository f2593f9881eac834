"""`FitResult`: everything that a fit found out about one study, and the heart it describes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Affine


@dataclass(frozen=True)
class SliceMotion:
    """Where a slice belongs: x -> R (x - c) + c + t in RAS, c the slice's own centre.

    `corrected_ras_from_ijk = motion @ ras_from_ijk`.
    """

    rotvec_rad: npt.NDArray[np.float64]
    translation_mm: npt.NDArray[np.float64]

    @property
    def angle_deg(self) -> float:
        return float(np.rad2deg(np.linalg.norm(self.rotvec_rad)))

    @property
    def distance_mm(self) -> float:
        return float(np.linalg.norm(self.translation_mm))

    def corrected_from_scanned_ras(self, centre_ras: npt.NDArray[np.float64]) -> Affine:
        """The motion as a 4x4 matrix in RAS."""
        return rigid_about(centre_ras, self.rotvec_rad, self.translation_mm)


@dataclass(frozen=True)
class FitStep:
    """One iteration of the fit. `loss` is the solver's own objective."""

    stage: str
    step: int
    loss: float
    psnr_db: float
    seconds: float


@dataclass(frozen=True)
class FittedParameters:
    """The unknowns of a fit. The order of slice-wise entries is that of the study's slices.

    Attributes:
        latent: `(n_latent,)` float32 subject code h.
        global_pose: `(4, 4)` rigid, canonical <- canonical, applied after the frame.
        slice_motion: one per slice, weighted mean zero (the gauge).
        intensity_scale: `(n_slices,)`, prediction = scale × decoder intensity.
    """

    latent: npt.NDArray[np.float32]
    global_pose: Affine
    slice_motion: tuple[SliceMotion, ...]
    intensity_scale: npt.NDArray[np.float64]
