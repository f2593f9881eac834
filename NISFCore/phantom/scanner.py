"""The simulated scanner: a heart and a protocol in, a cine study and its truth out.

Convention of misalignment: the header's geometry is nominal; the pixel at nominal `x_ras` shows
the heart at `M x_ras` with M the slice's rigid motion about its own centre (`truth.SliceTruth`).
Equal seeds give equal studies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from NISFCore.data.study import CineSlice, CineStudy, Provenance, SliceLabels
from NISFCore.geometry.planes import centre_ras, pixel_centres_ras
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.planning import PlannedSlice, plan
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.phantom.psf import average, blur, profile_offsets, sub_pixel_offsets
from NISFCore.phantom.scene import CineScene, Scene
from NISFCore.phantom.truth import PhantomTruth, PhantomVolumes, SliceTruth
from NISFCore.progress import CancelToken

MOVING_MARGIN_MM = 6.0
"""Around the union of the heart at three times, for what lies between them."""
MAX_PIXEL = 32767
Preparation = Callable[[Affine, float], Scene]
"""The scene that a slice with this heart_from_ijk and RR interval (ms) images."""
POSITION_RAS_MM = (-55.0, 40.0, 0.0)
POSITION_SD_MM = 15.0


@dataclass(frozen=True)
class SimulatedStudy:
    """A study as a reader would deliver it, and the truth behind it.

    Attributes:
        noise_free: the frames of every slice before noise was added, in pixel values; empty unless
            asked for.
        tagged_truth: of tagged slices beside the others (`examination`).
    """

    study: CineStudy
    truth: PhantomTruth
    noise_free: tuple[npt.NDArray[np.float32], ...] = ()
    tagged_truth: PhantomTruth | None = None


def simulate_study(
    parameters: HeartParameters,
    protocol: AcquisitionProtocol,
    seed: int,
    cancel: CancelToken | None = None,
    keeps_noise_free: bool = False,
) -> SimulatedStudy:
    """Image one heart.

    Every slice carries true labels (of pixel centres, with the slice's motion applied).

    Raises:
        ConfigError: if the parameters contradict each other.
        Cancelled: if asked through `cancel`.
    """
    rng = np.random.default_rng(seed)
    heart = BeatingHeart(parameters)
    scanner = Scanner(heart, ras_from_heart_of_patient(heart, rng), protocol, rng)
    slices, truths, noise_free = [], [], []
    for planned in plan(heart, scanner.ras_from_heart, protocol, rng):
        if cancel is not None:
            cancel.check()
        truth = scanner.draw_slice_truth(planned)
        cine, signal = scanner.acquire(planned, truth)
        slices.append(cine)
        if keeps_noise_free:
            noise_free.append(signal)
        truths.append(truth)
    return SimulatedStudy(
        CineStudy(tuple(slices), subject=f"simulated_{seed}"),
        scanner.truth(truths, seed),
        tuple(noise_free),
    )


def ras_from_heart_of_patient(heart: BeatingHeart, rng: np.random.Generator) -> Affine:
    """Where the patient lies in the scanner."""
    position = np.array(POSITION_RAS_MM) + POSITION_SD_MM * rng.standard_normal(3)
    return heart.ras_from_heart(_triple(position))


def phantom_volumes(heart: BeatingHeart) -> PhantomVolumes:
    """Volumes at ED and ES and the mass of a heart."""
    edv, rv_edv = heart.volumes_ml(0.0)
    esv, _ = heart.volumes_ml(heart.es_fraction)
    _, rv_esv = heart.volumes_ml(heart.parameters.motion.es_fraction)
    return PhantomVolumes(
        edv_ml=edv,
        esv_ml=esv,
        ef_percent=100 * (1 - esv / edv),
        mass_g=heart.mass_g,
        rv_edv_ml=rv_edv,
        rv_esv_ml=rv_esv,
        rv_ef_percent=100 * (1 - rv_esv / rv_edv),
    )


class Scanner:
    """One examination of one patient: draws its randomness in a fixed order from one generator."""

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

    def truth(self, slices: Sequence[SliceTruth], seed: int) -> PhantomTruth:
        """All that is known of the examination."""
        return PhantomTruth(
            parameters=self.heart.parameters,
            ras_from_heart_rows=tuple(tuple(row) for row in self.ras_from_heart.tolist()),
            slices=tuple(slices),
            volumes=phantom_volumes(self.heart),
            protocol=self.protocol,
            seed=seed,
        )

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

    def acquire(
        self, planned: PlannedSlice, truth: SliceTruth, prepare: Preparation | None = None
    ) -> tuple[CineSlice, npt.NDArray[np.float32]]:
        """Image one slice over the cycle; also returns its frames without noise.

        Args:
            prepare: what is done to the tissue before, such as tagging it; None for a cine.
        """
        rr_ms = self._draw_rr_ms()
        fractions = self._draw_fractions()
        heart_from_ijk = (
            self._heart_from_ras @ truth.corrected_from_scanned_ras @ planned.ras_from_ijk
        )
        scene = CineScene(self.heart) if prepare is None else prepare(heart_from_ijk, rr_ms)
        signal, labels = self._frames(scene, heart_from_ijk, fractions)
        # Coil sensitivity stays with the scanner: it is a function of nominal position.
        signal = signal * (truth.intensity_scale * self._sensitivity(planned.ras_from_ijk))
        cine = CineSlice(
            name=planned.name,
            view=planned.view,
            frames=self._stored(self._magnitude(signal)),
            ras_from_ijk=planned.ras_from_ijk,
            thickness_mm=self.protocol.thickness_mm,
            trigger_times_ms=fractions * rr_ms,
            rr_interval_ms=rr_ms,
            labels=SliceLabels(labels, np.ones(len(fractions), dtype=np.bool_)),
            provenance=Provenance(source="simulated", series=planned.name),
        )
        return cine, (signal * self.protocol.gain).astype(np.float32)

    def _draw_rr_ms(self) -> float:
        p = self.protocol
        rr_ms = p.rr_mean_ms * (1 + p.rr_sd_fraction * self.rng.standard_normal())
        return float(np.clip(rr_ms, 400.0, 1800.0))

    def _draw_fractions(self) -> npt.NDArray[np.float64]:
        n = self.protocol.n_phases
        jitter = self.rng.random(n) if self.protocol.has_random_times else np.zeros(n)
        return self.protocol.cycle_share * (np.arange(n) + jitter) / n

    def _magnitude(self, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """|signal + complex noise|: Rician."""
        if self.protocol.noise_sd == 0:
            return np.abs(signal)
        noise = self.protocol.noise_sd * self.rng.standard_normal((2, *signal.shape))
        return np.hypot(signal + noise[0], noise[1])

    def _stored(self, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Pixel values: whole numbers that fit 16 bits, as in a scanner's files."""
        return np.clip(np.rint(signal * self.protocol.gain), 0, MAX_PIXEL).astype(np.float32)

    def _sensitivity(self, ras_from_ijk: Affine) -> npt.NDArray[np.float64]:
        """Receive sensitivity `(rows, cols)`: exponential of a quadratic in RAS / 100 mm."""
        n = self.protocol.n_pixels
        points = pixel_centres_ras(ras_from_ijk, (n, n))
        u = (points - self.ras_from_heart[:3, 3]) / 100.0
        pairs = np.stack([u[..., a] * u[..., b] for a in range(3) for b in range(a, 3)], axis=-1)
        log_gain = u @ self._bias[:3] + 0.5 * pairs @ self._bias[3:]
        return np.exp(np.clip(log_gain, -1.0, 1.0))

    # -- sampling ---------------------------------------------------------------------------

    def _frames(
        self, scene: Scene, heart_from_ijk: Affine, fractions: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Noise-free signal and labels, each `(n_phases, rows, cols)`.

        Only pixels that the heart can reach are sampled again in every phase.
        """
        n = self.protocol.n_pixels
        samples = self._samples(heart_from_ijk)
        background = scene.still(samples, self._edge_mm)
        moving = self._moving_pixels(heart_from_ijk)
        chosen = torch.as_tensor(self._sample_mask(moving)).reshape(-1)
        points = samples[chosen]
        centres = self._centres(heart_from_ijk)[torch.as_tensor(moving.reshape(-1))]
        signal = np.empty((len(fractions), n, n))
        labels = np.zeros((len(fractions), n, n), dtype=np.uint8)
        for phase, fraction in enumerate(fractions):
            heart, cover = scene.moving(points, float(fraction), self._edge_mm)
            canvas = background(float(fraction))
            canvas[chosen] = torch.lerp(canvas[chosen], heart, cover)
            signal[phase] = self._pixels(canvas)
            labels[phase][moving] = self.heart.labels(centres, float(fraction)).numpy()
        return signal, labels

    def _samples(self, heart_from_ijk: Affine) -> Tensor:
        """Sample points `(n_profile * rows * s * cols * s, 3)` in heart coordinates.

        Neighbouring sub-pixels lie at alternating depths (a chequerboard of two interleaved sets),
        so that the slice profile is sampled twice as finely at no cost.
        """
        p = self.protocol
        rows = (np.arange(p.n_pixels)[:, None] + sub_pixel_offsets(p.n_sub_pixels)).reshape(-1)
        parity = np.add.outer(np.arange(len(rows)), np.arange(len(rows))) % 2
        depths = profile_offsets(2 * p.n_profile).reshape(-1, 2)
        if p.n_profile == 1 or p.n_sub_pixels == 1:
            depths = np.repeat(profile_offsets(p.n_profile)[:, None], 2, axis=1)
        k = np.where(parity, depths[:, 1, None, None], depths[:, 0, None, None])
        j, i = np.meshgrid(rows, rows, indexing="ij")
        return _points(heart_from_ijk, np.broadcast_to(i, k.shape), np.broadcast_to(j, k.shape), k)

    def _centres(self, heart_from_ijk: Affine) -> Tensor:
        """Pixel centres `(rows * cols, 3)` in heart coordinates."""
        j, i = np.meshgrid(*[np.arange(self.protocol.n_pixels)] * 2, indexing="ij")
        return _points(heart_from_ijk, i, j, np.zeros(i.shape))

    def _moving_pixels(self, heart_from_ijk: Affine) -> npt.NDArray[np.bool_]:
        """`(rows, cols)`: pixels that are near the heart at ED, half-way or ES, at any depth."""
        n = self.protocol.n_pixels
        j, i = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
        start, es = self.heart.parameters.motion.contraction_start, self.heart.es_fraction
        times = (0.0, (start + es) / 2, es)
        near = np.zeros(n * n, dtype=np.bool_)
        for depth in (-1.0, 0.0, 1.0):
            points = _points(heart_from_ijk, i, j, np.full(i.shape, depth))
            for time in times:
                cover = self.heart.heart_layer(points, time, self._edge_mm)[1]
                near |= cover.numpy() > 0
        reach = int(np.ceil(MOVING_MARGIN_MM / self.protocol.pixel_mm))
        return binary_dilation(near.reshape(n, n), iterations=reach)

    def _sample_mask(self, pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The mask of pixels, for samples `(n_profile, rows * s, cols * s)`."""
        s = self.protocol.n_sub_pixels
        fine = pixels.repeat(s, axis=0).repeat(s, axis=1)
        return np.repeat(fine[None], self.protocol.n_profile, axis=0)

    def _pixels(self, samples: Tensor) -> npt.NDArray[np.float32]:
        """Image `(rows, cols)` from all samples."""
        s, side = self.protocol.n_sub_pixels, self.protocol.n_pixels * self.protocol.n_sub_pixels
        through = samples.reshape(-1, side, side).mean(dim=0, keepdim=True)
        pixels = blur(through, s) if self.protocol.is_blurred else average(through, s)
        return pixels[0].numpy()


def _points(heart_from_ijk: Affine, i: npt.NDArray, j: npt.NDArray, k: npt.NDArray) -> Tensor:
    """Points `(n, 3)` float32 in heart coordinates from index arrays of one shape."""
    ijk = np.stack([i, j, k], axis=-1).reshape(-1, 3)
    return torch.as_tensor(apply_affine(heart_from_ijk, ijk).astype(np.float32))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
