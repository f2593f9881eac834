"""`MotionPrior`: a learned prior and its file.

safetensors, half precision: `base` `(n_weights,)` and `modes` `(n_latent, n_weights)`, flat states
of the canonical field (`weights`), with one JSON object in the header (`MotionPriorInfo`). Nothing
in it is executed.
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
from NISFCore.errors import PriorError
from NISFCore.files import write_bytes_atomically
from NISFCore.model.weights_file import check_finite, parsed_header, read_weights
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.priors.config import LatentConfig, PriorKind
from NISFCore.motion.priors.latent import solve
from NISFCore.motion.priors.weights import canonical_field, resampled
from NISFCore.motion.tagged_plane import TaggedPlane

FORMAT_VERSION = 1
HEADER_KEY = "nisf_motion_prior"
BUNDLED_KIND = PriorKind.AUTO_DECODER
"""The best one in `nisf benchmark motion`; the others come along to be compared with."""
_FOLDER = Path(__file__).parent.parent.parent / "priors"


@dataclass(frozen=True)
class MotionPriorInfo:
    """What is said about a motion prior in its header.

    Attributes:
        kind: how it was learned.
        field_config: of the canonical network. Its normalisation: coordinates and displacements in
            radii of the LV about its centre, first axis towards the RV, second towards the
            anterior wall; time from ED in cycles.
        latent: how codes are found.
        training: recipe and provenance, as plain JSON.
        name: shown to users.
        software, format_version: what wrote the file.
    """

    kind: PriorKind
    field_config: FieldConfig
    latent: LatentConfig = LatentConfig()
    training: dict[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    software: str = f"NISFCore {__version__}"
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class MotionPrior:
    """A learned start of a displacement field: a `fit.Initialisation`.

    Attributes:
        base: `(n_weights,)` flat state of the canonical field.
        modes: `(n_latent, n_weights)`, what a code of 1 adds; no rows for priors without codes.
    """

    info: MotionPriorInfo
    base: Tensor
    modes: Tensor

    def state(self, field: DisplacementField, seen: TaggedPlane) -> Tensor:
        """Weights for a heart; with codes, those of the motion that fits its images best.

        Raises:
            PriorError: if the field is not of the prior's network.
        """
        source = canonical_field(self.info.field_config)
        base, modes = (resampled(state, source, field) for state in (self.base, self.modes))
        if not len(modes):
            return base
        return base + solve(field, base, modes, seen, self.info.latent) @ modes

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            OutputError: if it cannot be written.
        """
        tensors = {
            k: v.half().contiguous() for k, v in (("base", self.base), ("modes", self.modes))
        }
        data = save(tensors, metadata={HEADER_KEY: json.dumps(to_json_object(self.info))})
        write_bytes_atomically(path, data)


def bundled_motion_prior(kind: PriorKind = BUNDLED_KIND) -> Path:
    """Where the bundled prior of a kind lies."""
    name = "motion" if kind is BUNDLED_KIND else f"motion-{kind.value}"
    return _FOLDER / f"{name}.safetensors"


def load_motion_prior(path: Path | None = None) -> MotionPrior:
    """Read a motion prior; the bundled one by default.

    Raises:
        PriorError: if the file is missing, no motion prior, of another version, or inconsistent.
    """
    path = bundled_motion_prior() if path is None else path
    if not path.is_file():
        raise PriorError(f"no motion prior at {path}; give one made by `nisf motion train`")
    header, tensors = read_weights(path, HEADER_KEY, "motion prior")
    info = parsed_header(
        path.name,
        header,
        MotionPriorInfo,
        FORMAT_VERSION,
        "motion prior",
        "train it again with `nisf motion train`",
    )
    return _prior(path.name, info, tensors)


def _prior(name: str, info: MotionPriorInfo, tensors: dict[str, Tensor]) -> MotionPrior:
    check_finite(name, tensors)
    n_weights = len(canonical_field(info.field_config).flat_state())
    base, modes = (tensors.get(key, torch.empty(0)).float() for key in ("base", "modes"))
    if base.shape != (n_weights,) or modes.ndim != 2 or modes.shape[1] != n_weights:
        raise PriorError(
            f"{name}: weights of shapes {tuple(base.shape)} and {tuple(modes.shape)} do not fit "
            f"its network of {n_weights} weights; train it again with `nisf motion train`"
        )
    return MotionPrior(info, base, modes)
