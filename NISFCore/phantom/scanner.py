"""The simulated scanner: a heart and a protocol in, a cine study and its truth out.

Convention of misalignment: the header's geometry is nominal; the pixel at nominal `x_ras` shows
the heart at `M x_ras` with M the slice's rigid motion about its own centre (`truth.SliceTruth`).
Equal seeds give equal studies.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice, CineStudy, Provenance, SliceLabels
from NISFCore.geometry.planes import centre_ras
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.planning import PlannedSlice, plan
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.phantom.psf import average, blur, profile_offsets, sub_pixel_offsets
from NISFCore.phantom.truth import PhantomTruth, PhantomVolumes, SliceTruth
from NISFCore.progress import CancelToken

HEART_MARGIN_MM = 25.0
ATRIA_HEIGHT_MM = 80.0
"""The moving part reaches this far above the base plane."""
CROP_MARGIN_PIXELS = 3
POSITION_RAS_MM = (-55.0, 40.0, 0.0)
POSITION_SD_MM = 15.0


@dataclass(frozen=True)
class SimulatedStudy:
    """A study as a reader would deliver it, and the truth behind it."""

    study: CineStudy
    truth: PhantomTruth


def simulate_study(
    parameters: HeartParameters,
    protocol: AcquisitionProtocol,
    seed: int,
    cancel: CancelToken | None = None,
) -> SimulatedStudy:
    """Image one heart.

    Every slice carries true labels (of pixel centres, with the slice's motion applied).

    Raises:
        ConfigError: if the parameters contradict each other.
        Cancelled: if asked through `cancel`.
    """
    rng = np.random.default_rng(seed)
    heart = BeatingHeart(parameters)
    position = np.array(POSITION_RAS_MM) + POSITION_SD_MM * rng.standard_normal(3)
    scanner = _Scanner(heart, heart.ras_from_heart(tuple(position.tolist())), protocol, rng)
    slices, truths = [], []
    for planned in plan(heart, scanner.ras_from_heart, protocol, rng):
        if cancel is not None:
            cancel.check()
        truth = scanner.draw_slice_truth(planned)
        slices.append(scanner.acquire(planned, truth))
        truths.append(truth)
    return SimulatedStudy(
        CineStudy(tuple(slices), subject=f"simulated_{seed}"),
        PhantomTruth(
            parameters=parameters,
            ras_from_heart_rows=tuple(tuple(row) for row in scanner.ras_from_heart.tolist()),
            slices=tuple(truths),
            volumes=phantom_volumes(heart),
            protocol=protocol,
            seed=seed,
        ),
    )


def phantom_volumes(heart: BeatingHeart) -> PhantomVolumes:
    """Volumes at ED and ES and the mass of a heart."""
    edv, rv_edv = heart.volumes_ml(0.0)
    esv, rv_esv = heart.volumes_ml(heart.parameters.motion.es_fraction)
    return PhantomVolumes(
        edv_ml=edv,
        esv_ml=esv,
        ef_percent=100 * (1 - esv / edv),
        mass_g=heart.mass_g,
        rv_edv_ml=rv_edv,
        rv_esv_ml=rv_esv,
        rv_ef_percent=100 * (1 - rv_esv / rv_edv),
    )


@dataclass(frozen=True)
class _Crop:
    """The part of an image that the heart can reach: rows and columns [low, high)."""

    rows: tuple[int, int]
    cols: tuple[int, int]


class _Scanner:
    """One examination: draws its randomness in a fixed order from one generator."""

    def __init__(
        self,
        heart: BeatingHeart,
        ras_from_heart: Affine,
        protocol: AcquisitionProtocol,
        rng: np.random.Generator,
    ) -> None:
        self.heart = heart
        self.ras_from_heart = ras_from_heart
        self.protocol = protocol
        self.rng = rng
        self._heart_from_ras = invert_rigid(ras_from_heart)
        self._bias = protocol.coil_bias * rng.standard_normal(9)
        # Samples are cells of this size: edges as soft as a cell make the midpoint rule accurate.
        self._edge_mm = protocol.pixel_mm / protocol.n_sub_pixels

    def draw_slice_truth(self, planned: PlannedSlice) -> SliceTruth:
        """Breath-hold position and intensity scale of one slice."""
        p, n = self.protocol, self.protocol.n_pixels
        rotvec = np.deg2rad(p.breath_hold_sd_deg) * self.rng.standard_normal(3)
        translation = np.array(p.breath_hold_sd_mm) * self.rng.standard_normal(3)
        return SliceTruth(
            name=planned.name,
            centre_ras=_triple(centre_ras(planned.ras_from_ijk, (n, n))),
            rotvec_rad=_triple(rotvec),
            translation_mm=_triple(translation),
            intensity_scale=float(np.exp(p.intensity_scale_sd * self.rng.standard_normal())),
        )

    def acquire(self, planned: PlannedSlice, truth: SliceTruth) -> CineSlice:
        """Image one slice over the cycle."""
        rr_ms = self._draw_rr_ms()
        fractions = self._draw_fractions()
        heart_from_ijk = (
            self._heart_from_ras @ truth.corrected_from_scanned_ras @ planned.ras_from_ijk
        )
        signal, labels = self._frames(heart_from_ijk, fractions)
        # Coil sensitivity stays with the scanner: it is a function of nominal position.
        signal = signal * (truth.intensity_scale * self._sensitivity(planned.ras_from_ijk))
        return CineSlice(
            name=planned.name,
            view=planned.view,
            frames=self._magnitude(signal).astype(np.float32),
            ras_from_ijk=planned.ras_from_ijk,
            thickness_mm=self.protocol.thickness_mm,
            trigger_times_ms=fractions * rr_ms,
            rr_interval_ms=rr_ms,
            labels=SliceLabels(labels, np.ones(len(fractions), dtype=np.bool_)),
            provenance=Provenance(source="simulated", series=planned.name),
        )

    def _draw_rr_ms(self) -> float:
        p = self.protocol
        rr_ms = p.rr_mean_ms * (1 + p.rr_sd_fraction * self.rng.standard_normal())
        return float(np.clip(rr_ms, 400.0, 1800.0))

    def _draw_fractions(self) -> npt.NDArray[np.float64]:
        n = self.protocol.n_phases
        jitter = self.rng.random(n) if self.protocol.has_random_times else np.zeros(n)
        return (np.arange(n) + jitter) / n

    def _magnitude(self, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """|signal + complex noise|: Rician."""
        if self.protocol.noise_sd == 0:
            return signal
        noise = self.protocol.noise_sd * self.rng.standard_normal((2, *signal.shape))
        return np.hypot(signal + noise[0], noise[1])

    def _sensitivity(self, ras_from_ijk: Affine) -> npt.NDArray[np.float64]:
        """Receive sensitivity `(rows, cols)`: exponential of a quadratic in RAS / 100 mm."""
        points = self._grid(np.zeros(1), np.zeros(1)) @ ras_from_ijk[:3].T
        u = (points - self.ras_from_heart[:3, 3]) / 100.0
        pairs = np.stack([u[..., a] * u[..., b] for a in range(3) for b in range(a, 3)], axis=-1)
        log_gain = u @ self._bias[:3] + 0.5 * pairs @ self._bias[3:]
        n = self.protocol.n_pixels
        return np.exp(np.clip(log_gain, -1.0, 1.0)).reshape(n, n)

    # -- sampling ---------------------------------------------------------------------------

    def _grid(
        self,
        sub: npt.NDArray[np.float64],
        through: npt.NDArray[np.float64],
        crop: _Crop | None = None,
    ) -> npt.NDArray[np.float64]:
        """Homogeneous ijk `(n_through, rows * s, cols * s, 4)` of samples."""
        n = self.protocol.n_pixels
        (j0, j1), (i0, i1) = (crop.rows, crop.cols) if crop else ((0, n), (0, n))
        j = (np.arange(j0, j1)[:, None] + sub).reshape(-1)
        i = (np.arange(i0, i1)[:, None] + sub).reshape(-1)
        k_all, j_all, i_all = np.meshgrid(through, j, i, indexing="ij")
        return np.stack([i_all, j_all, k_all, np.ones_like(k_all)], axis=-1)

    def _frames(
        self, heart_from_ijk: Affine, fractions: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Noise-free signal and labels, each `(n_phases, rows, cols)`."""
        n = self.protocol.n_pixels
        static = self._pixels(self._samples(heart_from_ijk, None)[1]).double().numpy()
        signal = np.broadcast_to(static, (len(fractions), n, n)).copy()
        labels = np.zeros((len(fractions), n, n), dtype=np.uint8)
        crop = self._crop(heart_from_ijk)
        if crop is None:
            return signal, labels
        rows, cols = np.s_[slice(*crop.rows)], np.s_[slice(*crop.cols)]
        points, background = self._samples(heart_from_ijk, crop)
        centres = _points(heart_from_ijk, self._grid(np.zeros(1), np.zeros(1), crop))
        for phase, fraction in enumerate(fractions):
            signal[phase, rows, cols], labels[phase, rows, cols] = self._frame(
                points, background, centres, float(fraction)
            )
        return signal, labels

    def _frame(
        self, points: Tensor, background: Tensor, centres: Tensor, fraction: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        shape = background.shape
        heart, cover, labels = self.heart.heart_layer(
            points.reshape(-1, 3), fraction, self._edge_mm
        )
        base = background.reshape(-1)
        samples = (base + cover * (heart - base)).reshape(shape)
        if centres.shape != points.shape:
            labels = self.heart.labels(centres.reshape(-1, 3), fraction)
        frame = self._pixels(samples).double().numpy()
        return frame, labels.reshape(centres.shape[1:3]).numpy()

    def _samples(self, heart_from_ijk: Affine, crop: _Crop | None) -> tuple[Tensor, Tensor]:
        """Sample points `(n_through, rows * s, cols * s, 3)` and the static signal there."""
        p = self.protocol
        grid = self._grid(sub_pixel_offsets(p.n_sub_pixels), profile_offsets(p.n_profile), crop)
        points = _points(heart_from_ijk, grid)
        background = self.heart.background(points.reshape(-1, 3), self._edge_mm)
        return points, background.reshape(points.shape[:3])

    def _pixels(self, samples: Tensor) -> Tensor:
        """Image `(rows, cols)` from samples `(n_through, rows * s, cols * s)`."""
        through = samples.mean(dim=0, keepdim=True)
        s = self.protocol.n_sub_pixels
        return (blur(through, s) if self.protocol.is_blurred else average(through, s))[0]

    def _crop(self, heart_from_ijk: Affine) -> _Crop | None:
        """Pixels that the moving part can reach, with a margin; None if there are none."""
        low, high = self.heart.box_mm()
        low, high = low - HEART_MARGIN_MM, high + HEART_MARGIN_MM
        high[2] = max(high[2], self.heart.shape.z_base_mm + ATRIA_HEIGHT_MM)
        points = self._grid(np.zeros(1), np.zeros(1))[0] @ heart_from_ijk[:3].T
        inside = ((points > low) & (points < high)).all(axis=-1)
        if not inside.any():
            return None
        return _Crop(_extent(inside.any(axis=1)), _extent(inside.any(axis=0)))


def _extent(used: npt.NDArray[np.bool_]) -> tuple[int, int]:
    index = np.flatnonzero(used)
    low, high = int(index[0]) - CROP_MARGIN_PIXELS, int(index[-1]) + 1 + CROP_MARGIN_PIXELS
    return max(low, 0), min(high, len(used))


def _points(heart_from_ijk: Affine, grid: npt.NDArray[np.float64]) -> Tensor:
    return torch.as_tensor((grid @ heart_from_ijk[:3].T).astype(np.float32))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
