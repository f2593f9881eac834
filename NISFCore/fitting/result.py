"""`FitResult`: everything that a fit found out about one study, and the heart it describes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.data.guidance import Guidance
from NISFCore.data.study import CineStudy
from NISFCore.fitting.confidence import label_confidence
from NISFCore.fitting.heart import FittedHeart
from NISFCore.fitting.quality import QualityReport
from NISFCore.fitting.volume_gradients import volume_gradients_ml
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.model.intensity_detail import IntensityDetail
from NISFCore.model.prior import Prior
from NISFCore.model.receive_gain import gain_basis
from NISFCore.model.shape_warp import AnyDecoder, ShapeWarp, WarpedDecoder


@dataclass(frozen=True)
class SliceMotion:
    """Where a slice belongs: x -> R (x - c) + c + t in RAS, c the slice's own centre."""

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
        latent: `(n_latent,)` float32, h.
        global_pose: `(4, 4)` rigid, canonical <- canonical, applied after the frame.
        slice_motion: one per slice; as a whole the moved slices stay where they were scanned
            (the gauge: a motion common to all slices is in `global_pose`).
        intensity_scale: `(n_slices,)`, prediction = scale × receive gain × decoder intensity.
        log_gain: `(N_GAIN,)` coefficients of the receive gain (see `model.receive_gain`).
        tissue_offset: `(N_LABELS,)` (see `model.tissue_offset`).
        intensity_reference: `(n_slices,)`, the image intensity that stands for 1.
        warp: of the heart's shape; None if its shape is the latent's.
    """

    latent: npt.NDArray[np.float32]
    global_pose: Affine
    slice_motion: tuple[SliceMotion, ...]
    intensity_scale: npt.NDArray[np.float64]
    log_gain: npt.NDArray[np.float64]
    tissue_offset: npt.NDArray[np.float64]
    intensity_reference: npt.NDArray[np.float64]
    warp: ShapeWarp | None = None

    @property
    def code(self) -> npt.NDArray[np.float32]:
        """What `FitResult.decoder` is asked with, `(n_code,)`: the latent, then the warp's."""
        if self.warp is None:
            return self.latent
        return np.concatenate([self.latent, self.warp.coefficients.ravel()])


@dataclass(frozen=True)
class FitUncertainty:
    """The Gaussian around a fit (Laplace approximation, see `uncertainty`), float64.

    Attributes:
        code_covariance: `(n_code, n_code)` of the subject code: latent and warp.
        motion_covariance: `(n_slices, 6, 6)` of each slice's rotation vector (rad) and translation
            (mm), in RAS.
    """

    code_covariance: npt.NDArray[np.float64]
    motion_covariance: npt.NDArray[np.float64]

    @property
    def rotation_sd_deg(self) -> npt.NDArray[np.float64]:
        """Standard errors of the rotation vectors about R, A, S, `(n_slices, 3)`."""
        return np.rad2deg(self._deviations[:, :3])

    @property
    def translation_sd_mm(self) -> npt.NDArray[np.float64]:
        """Standard errors of the translations along R, A, S, `(n_slices, 3)`."""
        return self._deviations[:, 3:]

    @property
    def _deviations(self) -> npt.NDArray[np.float64]:
        variances = np.diagonal(self.motion_covariance, axis1=1, axis2=2)
        return np.sqrt(np.maximum(variances, 0.0))  # rounding may leave -1e-30 for nothing


@dataclass(frozen=True)
class FitResult:
    """A fitted study.

    Attributes:
        study: the slices that were fitted, cropped to the heart region.
        history: the solver's steps.
        figures: PSNR and whatever else was measured, by name.
        settings: the fit's configuration as plain JSON.
        seconds: duration of each stage.
        uncertainty: None if the solver does not tell.
        quality: what checks of the result found; None before they were made.
        evidence: what the slice network said of `study`, for a refit.
        detail: of the intensities (see `with_intensity_detail`); None before it was asked for. It
            follows from the rest, and is not stored.
    """

    study: CineStudy
    prior: Prior
    frame: CanonicalFrame
    parameters: FittedParameters
    history: tuple[FitStep, ...]
    settings: dict[str, Any]
    figures: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    uncertainty: FitUncertainty | None = None
    quality: QualityReport | None = None
    evidence: Guidance | None = None
    detail: IntensityDetail | None = None

    @property
    def canonical_from_ras(self) -> Affine:
        """Canonical space of the decoder from scanner space."""
        return self.parameters.global_pose @ self.frame.canonical_from_ras

    @property
    def decoder(self) -> AnyDecoder:
        """The prior's decoder, asked at warped points where the heart has a warp."""
        warp = self.parameters.warp
        return self.prior.decoder if warp is None else WarpedDecoder(self.prior.decoder, warp.modes)

    @property
    def field(self) -> FittedHeart:
        """The heart in scanner space, where the average slice was."""
        p = self.parameters
        pose, offset = self.canonical_from_ras, p.tissue_offset
        return FittedHeart(self.decoder, p.code, pose, offset, self.detail)

    @property
    def slice_motions(self) -> tuple[Affine, ...]:
        """`corrected_from_scanned` of every slice, `(4, 4)` in RAS, in study order."""
        pairs = zip(self.study.slices, self.parameters.slice_motion, strict=True)
        return tuple(motion.corrected_from_scanned_ras(s.centre_ras) for s, motion in pairs)

    def volume_covariance_ml2(
        self, cycle_fractions: Sequence[float]
    ) -> npt.NDArray[np.float64] | None:
        """Covariance of all labels' volumes at some times, `(n_times, 4, n_times, 4)`.

        None if the solver does not tell.
        """
        if self.uncertainty is None:
            return None
        decoder, code = self.decoder, self.parameters.code
        G = np.stack([volume_gradients_ml(decoder, code, t) for t in cycle_fractions])
        return np.einsum("tai,ij,ubj->taub", G, self.uncertainty.code_covariance, G)

    def label_confidence(
        self, points_ras: Points, cycle_fraction: float
    ) -> npt.NDArray[np.float32] | None:
        """Probability `(n,)` of the most probable label at points `(n, 3)` of the modelled region,
        the fit's uncertainty taken into account; None if the solver does not tell."""
        if self.uncertainty is None:
            return None
        return label_confidence(
            self.decoder,
            apply_affine(self.canonical_from_ras, points_ras),
            cycle_fraction,
            self.parameters.code,
            self.uncertainty.code_covariance,
        )

    @property
    def intensity_scale(self) -> npt.NDArray[np.float64]:
        return self.parameters.intensity_scale

    def image_gain(self, index: int) -> npt.NDArray[np.float32]:
        """What the heart's intensity is multiplied by in the pixels of a slice, `(rows, cols)`: its
        scale and the receive gain."""
        cine, p = self.study.slices[index], self.parameters
        scanned = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
        positions = torch.from_numpy(apply_affine(self.frame.canonical_from_ras, scanned))
        log_gain = gain_basis(positions) @ torch.from_numpy(p.log_gain)
        return np.asarray(p.intensity_scale[index] * np.exp(log_gain.numpy()), dtype=np.float32)

    @property
    def intensity_reference(self) -> npt.NDArray[np.float64]:
        return self.parameters.intensity_reference
