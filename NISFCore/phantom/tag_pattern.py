"""Tags laid down in tissue by spatial modulation of magnetisation (SPAMM, Axel and Dougherty 1989,
Radiology 171:841): a train of pulses with binomial weights, a gradient between them.

The longitudinal magnetisation after the train is a cosine polynomial of the phase that the
gradient gives, exact by the Bloch equations; spoiling leaves nothing else, so that a second train
across the first multiplies it. Relaxation and the imaging pulses then let the tags fade.
"""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.geometry.spaces import Affine


class TagKind(str, Enum):
    """How many families of lines an image shows."""

    LINES = "lines"
    """One; every plane is imaged twice, with lines across each other."""
    GRID = "grid"
    """Two, across each other."""


class TagProfile(str, Enum):
    """Pulses of a train, by their binomial weights."""

    SINUSOIDAL = "1-1"
    SHARP = "1-3-3-1"


_WEIGHTS = {TagProfile.SINUSOIDAL: (1, 1), TagProfile.SHARP: (1, 3, 3, 1)}


@dataclass(frozen=True)
class TagPattern:
    """Settings of the tagging pulses.

    Attributes:
        kind: lines (two series per plane) or a grid.
        spacing_mm: distance of the lines at ED.
        angle_deg: of the first family's normal from the image's columns' axis (i) towards its
            rows' axis (j); the second is 90 degrees on.
        flip_deg: sum over a train: 90 saturates the lines completely.
        profile: pulses of a train.
        fading_ms: time after which muscle's tags are down to 1/e: T1, shortened by the imaging
            pulses.
        washout_ms: the same for blood, by its flow.
    """

    kind: TagKind = TagKind.GRID
    spacing_mm: float = 7.0
    angle_deg: float = 45.0
    flip_deg: float = 90.0
    profile: TagProfile = TagProfile.SINUSOIDAL
    fading_ms: float = 550.0
    washout_ms: float = 60.0

    def __post_init__(self) -> None:
        self._check("spacing_mm", self.spacing_mm, 3.0, 20.0)
        self._check("flip_deg", self.flip_deg, 5.0, 180.0)
        self._check("fading_ms", self.fading_ms, 50.0, 5000.0)
        self._check("washout_ms", self.washout_ms, 5.0, 5000.0)

    @property
    def series_angles_deg(self) -> tuple[tuple[float, ...], ...]:
        """Angles of the families that each series of a plane shows."""
        first, second = self.angle_deg, self.angle_deg + 90.0
        return ((first, second),) if self.kind is TagKind.GRID else ((first,), (second,))

    def magnetisation(self, phase_rad: Tensor) -> Tensor:
        """Longitudinal magnetisation just after one train, 1 at rest; same shape as `phase_rad`."""
        a = cosine_coefficients(math.radians(self.flip_deg), self.profile)
        return torch.stack([c * (j * phase_rad).cos() for j, c in enumerate(a)]).sum(dim=0)

    def _check(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise ConfigError(f"TagPattern.{name}: got {value:g}, allowed: {low:g} to {high:g}")


def sample_tag_pattern(seed: int | np.random.Generator, kind: TagKind = TagKind.GRID) -> TagPattern:
    """A pattern with lines 6 to 8 mm apart, varied as scanners and protocols vary."""
    rng = np.random.default_rng(seed)
    return TagPattern(
        kind=kind,
        spacing_mm=float(rng.uniform(6.0, 8.0)),
        angle_deg=float(rng.uniform(0.0, 90.0)),
        flip_deg=float(rng.uniform(70.0, 100.0)),
        profile=list(TagProfile)[int(rng.integers(len(TagProfile)))],
        fading_ms=float(rng.uniform(400.0, 700.0)),
        washout_ms=float(rng.uniform(40.0, 90.0)),
    )


def cosine_coefficients(flip_rad: float, profile: TagProfile) -> tuple[float, ...]:
    """a_j of M_z = sum a_j cos(j phase) after a train of pulses that sum up to `flip_rad`."""
    weights = _WEIGHTS[profile]
    n = 2 * len(weights)  # more samples than a polynomial of degree len(weights) - 1 needs
    phases = 2 * np.pi * np.arange(n) / n
    values = np.array([_after_train(flip_rad, weights, phase) for phase in phases])
    spectrum = np.fft.rfft(values).real / n
    return float(spectrum[0]), *(2 * float(v) for v in spectrum[1 : len(weights)])


def _after_train(flip_rad: float, weights: tuple[int, ...], phase: float) -> float:
    """M_z after pulses about x with a turn by `phase` about z between each two."""
    M = np.array([0.0, 0.0, 1.0])
    for weight in weights:
        M = _turn(0, flip_rad * weight / sum(weights)) @ _turn(2, phase) @ M
    return float(M[2])


def _turn(axis: int, angle: float) -> npt.NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    a, b = (k for k in range(3) if k != axis)
    R = np.eye(3)
    R[a, a] = R[b, b] = c
    R[a, b], R[b, a] = -s, s
    return R


@dataclass(frozen=True)
class LaidTags:
    """Tags as laid down at ED in one acquisition of one plane.

    Attributes:
        pattern: settings.
        waves: one row `(k_x, k_y, k_z, phase)` per family; the phase of heart point p is
            k p + phase, in rad with p in mm.
    """

    pattern: TagPattern
    waves: npt.NDArray[np.float64]

    def loss(self, material: Tensor) -> Tensor:
        """1 - M_z `(n,)` just after tagging of the tissue at `material` `(n, 3)`."""
        waves = torch.as_tensor(self.waves).to(material)
        Mz = torch.ones_like(material[:, 0])
        for wave in waves:
            Mz = Mz * self.pattern.magnetisation(material @ wave[:3] + wave[3])
        return 1 - Mz


def lay_tags(
    pattern: TagPattern,
    angles_deg: tuple[float, ...],
    heart_from_ijk: Affine,
    rng: np.random.Generator,
) -> LaidTags:
    """Tags across a plane where it truly lies, at a random distance from its origin."""
    waves = []
    for angle_deg in angles_deg:
        normal = line_normal(heart_from_ijk, angle_deg)
        k = 2 * np.pi / pattern.spacing_mm * normal
        phase = rng.uniform(0, 2 * np.pi) - float(k @ heart_from_ijk[:3, 3])
        waves.append([*k, phase])
    return LaidTags(pattern, np.array(waves))


def line_normal(target_from_ijk: Affine, angle_deg: float) -> npt.NDArray[np.float64]:
    """Unit vector `(3,)` in the plane, `angle_deg` from its i axis towards its j axis."""
    axes = target_from_ijk[:3, :2] / np.linalg.norm(target_from_ijk[:3, :2], axis=0)
    angle = math.radians(angle_deg)
    return np.asarray(axes @ [math.cos(angle), math.sin(angle)], dtype=np.float64)
