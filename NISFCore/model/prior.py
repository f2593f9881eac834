"""A prior: the decoder trained on a cohort, with the cohort's statistics, as one safetensors file.

The file's header holds one JSON object (`PriorInfo`); tensors are the decoder's weights and the
Gaussian of the training latents. Nothing in it is ever executed.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from NISFCore._version import __version__
from NISFCore.config import to_json_object
from NISFCore.errors import ConfigError, PriorError
from NISFCore.files import write_bytes_atomically
from NISFCore.labels import Label
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.weights_file import check_finite, parsed_header, read_weights

FORMAT_VERSION = 1
HEADER_KEY = "nisf_prior"
LABEL_NAMES = tuple(label.name.lower() for label in Label)
MEAN_WORTH = 5.0
BUNDLED_PRIOR = Path(__file__).parent.parent / "priors" / "phantom.safetensors"


@dataclass(frozen=True)
class Calibration:
    """By how much errors on subjects of known truth exceeded the standard errors that a fit
    believes in; 1 if nobody has measured it. Standard errors are multiplied by these.

    Attributes:
        translation, rotation: of slice motions.
        volume: of everything that comes from the latent.
    """

    translation: float = 1.0
    rotation: float = 1.0
    volume: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"Calibration.{name}: got {value}, must be positive")


@dataclass(frozen=True)
class PriorInfo:
    """What is said about a prior in its header.

    Attributes:
        decoder: shape of the network.
        n_subjects: training subjects.
        training: recipe and provenance, as plain JSON.
        name: shown to users.
        calibration: of the standard errors of fits with this prior.
        labels: names of labels 0, 1, ...; must be the ones of this software.
        software, format_version: what wrote the file.
    """

    decoder: DecoderConfig
    n_subjects: int
    training: dict[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    calibration: Calibration = Calibration()
    labels: tuple[str, ...] = LABEL_NAMES
    software: str = f"NISFCore {__version__}"
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Prior:
    """Decoder and cohort statistics.

    Attributes:
        decoder: frozen, in evaluation mode.
        latent_mean: `(n_latent,)`.
        latent_covariance: `(n_latent, n_latent)`, positive definite.
    """

    info: PriorInfo
    decoder: Decoder
    latent_mean: Tensor
    latent_covariance: Tensor

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            OutputError: if it cannot be written.
        """
        tensors = {f"decoder.{k}": v.contiguous() for k, v in self.decoder.state_dict().items()}
        tensors["latent_mean"] = self.latent_mean.contiguous()
        tensors["latent_covariance"] = self.latent_covariance.contiguous()
        data = save(tensors, metadata={HEADER_KEY: json.dumps(to_json_object(self.info))})
        write_bytes_atomically(path, data)


def load_prior(path: Path | None = None) -> Prior:
    """Read a prior; the bundled one by default.

    Raises:
        PriorError: if the file is missing, no prior, of another version, or inconsistent.
    """
    path = BUNDLED_PRIOR if path is None else path
    if not path.is_file():
        raise PriorError(f"no prior file at {path}; give one made by `nisf train`")
    header, tensors = read_weights(path, HEADER_KEY, "prior")
    return _prior(path.name, _info(path.name, header), tensors)


def _info(name: str, header: str) -> PriorInfo:
    remedy = "train it again with `nisf train` or use the matching software"
    info = parsed_header(name, header, PriorInfo, FORMAT_VERSION, "prior", remedy)
    if info.labels != LABEL_NAMES:
        raise PriorError(f"{name} has labels {info.labels}, this software uses {LABEL_NAMES}")
    return info


def _prior(name: str, info: PriorInfo, tensors: dict[str, Tensor]) -> Prior:
    check_finite(name, tensors)
    decoder = Decoder(info.decoder)
    weights = {k.removeprefix("decoder."): v for k, v in tensors.items() if k[:8] == "decoder."}
    try:
        decoder.load_state_dict(weights)
    except RuntimeError as error:
        raise PriorError(f"{name}: weights do not fit its configuration: {error}") from error
    n = info.decoder.n_latent
    mean, covariance = tensors.get("latent_mean"), tensors.get("latent_covariance")
    if mean is None or covariance is None or covariance.shape != (n, n) or mean.shape != (n,):
        raise PriorError(f"{name}: its latent statistics are missing or not of size {n}")
    if torch.linalg.cholesky_ex(covariance.double()).info != 0:
        raise PriorError(f"{name}: its latent covariance is not positive definite")
    decoder.requires_grad_(False).eval()
    return Prior(info, decoder, mean.float(), covariance.float())


def updated_statistics(latents: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of few latents `(n_subjects, n_latent)` of hearts of another kind than
    those that `mean` and `covariance` describe.

    The normal-inverse-Wishart posterior (Gelman et al., Bayesian Data Analysis, 3.6) in which the
    earlier mean counts as `MEAN_WORTH` subjects and the earlier covariance as many as there are
    dimensions: where the heart is, few subjects tell; how hearts differ, few do not.
    """
    n, worth = len(latents), len(mean)
    own = latents.mean(0)
    centred, shift = (latents - own).double(), (own - mean).double()
    between = MEAN_WORTH * n / (MEAN_WORTH + n) * torch.outer(shift, shift)
    C = worth * covariance.double() + centred.T @ centred + between
    updated = (MEAN_WORTH * mean + n * own) / (MEAN_WORTH + n)
    return updated, (C / (worth + n)).float()


def latent_statistics(latents: Tensor, shrinkage: float = 0.1) -> tuple[Tensor, Tensor]:
    """Mean and shrunken covariance of training latents `(n_subjects, n_latent)`.

    The covariance is (1 - s) C + s tr(C)/n I: with fewer subjects than dimensions C alone has no
    inverse.
    """
    mean = latents.mean(0)
    centred = (latents - mean).double()
    C = centred.T @ centred / max(1, len(latents) - 1)
    n = C.shape[0]
    variance = C.trace() / n
    identity = torch.eye(n, dtype=C.dtype)
    C = (1 - shrinkage) * C + (shrinkage * variance + 1e-8) * identity
    return mean, C.float()
