"""The slice network: a small U-Net, and the file that it is kept in.

Input and output are one window (`window.WindowGrid`); inside, the image is folded to half of its
size with four times the channels, which loses nothing and costs a quarter. The file is safetensors
(half precision) with one JSON object in its header (`NetworkInfo`); nothing in it is executed.
"""

import copy
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from NISFCore._version import __version__
from NISFCore.config import to_json_object
from NISFCore.errors import ConfigError, PriorError
from NISFCore.evidence.channels import N_CHANNELS
from NISFCore.evidence.window import WindowGrid
from NISFCore.files import write_bytes_atomically
from NISFCore.labels import N_LABELS, Label
from NISFCore.model.weights_file import check_finite, parsed_header, read_weights

FORMAT_VERSION = 1
HEADER_KEY = "nisf_slice_network"
LABEL_NAMES = tuple(label.name.lower() for label in Label)
BUNDLED_NETWORK = Path(__file__).parent.parent / "priors" / "slices.safetensors"
N_GROUPS = 8
FOLD = 2


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network.

    Attributes:
        grid: the window that it sees.
        widths: channels at a half, a quarter and an eighth of the window's resolution.
    """

    grid: WindowGrid = WindowGrid(96, 1.75)
    widths: tuple[int, int, int] = (40, 80, 160)

    def __post_init__(self) -> None:
        if self.grid.n_pixels % 8 or not 32 <= self.grid.n_pixels <= 256:
            raise ConfigError(
                f"NetworkConfig.grid: got {self.grid.n_pixels} pixels, allowed: multiples of 8 "
                "from 32 to 256"
            )
        if any(w % N_GROUPS or w < N_GROUPS for w in self.widths):
            raise ConfigError(
                f"NetworkConfig.widths: got {self.widths}, allowed: multiples of {N_GROUPS}"
            )


class MatrixConv(nn.Module):
    """A 3 x 3 convolution whose weight is kept as the matrix `(n_out, 9 n_in)` that the optimiser
    turns (see `training`)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(n_out, 9 * n_in))
        nn.init.kaiming_normal_(self.matrix, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        n_out = len(self.matrix)
        return functional.conv2d(x, self.matrix.reshape(n_out, -1, 3, 3), padding=1)


class _Block(nn.Module):
    """Two convolutions; groups of channels are normalised per slice, so that contrast is not."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv_1 = MatrixConv(n_in, n_out)
        self.norm_1 = nn.GroupNorm(N_GROUPS, n_out)
        self.conv_2 = MatrixConv(n_out, n_out)
        self.norm_2 = nn.GroupNorm(N_GROUPS, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm_1(self.conv_1(x)))
        return functional.relu(self.norm_2(self.conv_2(x)))


class SliceUNet(nn.Module):
    """`(n, N_CHANNELS, rows, cols)` to logits `(n, N_LABELS, rows, cols)`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        a, b, c = config.widths
        self.down_0 = _Block(N_CHANNELS * FOLD**2, a)
        self.down_1 = _Block(a, b)
        self.bottom = _Block(b, c)
        self.lift_1 = nn.Conv2d(c, b, 1)
        self.up_1 = _Block(2 * b, b)
        self.lift_0 = nn.Conv2d(b, a, 1)
        self.up_0 = _Block(2 * a, a)
        self.head = nn.Conv2d(a, N_LABELS * FOLD**2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        x_0 = self.down_0(functional.pixel_unshuffle(inputs, FOLD))
        x_1 = self.down_1(functional.max_pool2d(x_0, 2))
        x_2 = self.bottom(functional.max_pool2d(x_1, 2))
        y_1 = self.up_1(torch.cat([x_1, _doubled(self.lift_1(x_2))], dim=1))
        y_0 = self.up_0(torch.cat([x_0, _doubled(self.lift_0(y_1))], dim=1))
        logits: Tensor = functional.pixel_shuffle(self.head(y_0), FOLD)
        return logits


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class NetworkInfo:
    """What is said about a network in its header.

    Attributes:
        network: its shape.
        temperature: by which logits are divided, calibrated on simulated hearts it was not
            trained on.
        training: recipe and provenance, as plain JSON.
        name: shown to users.
        labels: names of labels 0, 1, ...; must be the ones of this software.
        software, format_version: what wrote the file.
    """

    network: NetworkConfig
    temperature: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    labels: tuple[str, ...] = LABEL_NAMES
    software: str = f"NISFCore {__version__}"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not 0.2 < self.temperature < 20:
            raise ConfigError(
                f"NetworkInfo.temperature: got {self.temperature}, allowed: 0.2 to 20"
            )


@dataclass(frozen=True)
class SliceNetwork:
    """A trained network, frozen, in evaluation mode."""

    info: NetworkInfo
    unet: SliceUNet

    @property
    def grid(self) -> WindowGrid:
        return self.info.network.grid

    @torch.no_grad()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """Calibrated probabilities `(n, N_LABELS, rows, cols)` of `channels.network_input`."""
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return torch.softmax(self.unet(inputs) / self.info.temperature, dim=1)

    def on(self, device: str) -> "SliceNetwork":
        """The same network on a device; this one stays where it is."""
        if next(self.unet.parameters(), torch.empty(0)).device == torch.device(device):
            return self
        return replace(self, unet=copy.deepcopy(self.unet).to(device))

    def save(self, path: Path) -> None:
        """Write the file atomically, in half precision.

        Raises:
            OutputError: if it cannot be written.
        """
        tensors = {k: v.half().contiguous() for k, v in self.unet.state_dict().items()}
        data = save(tensors, metadata={HEADER_KEY: json.dumps(to_json_object(self.info))})
        write_bytes_atomically(path, data)


def load_slice_network(path: Path | None = None) -> SliceNetwork:
    """Read a slice network; the bundled one by default.

    Raises:
        PriorError: if the file is missing, no slice network, of another version, or inconsistent.
    """
    path = BUNDLED_NETWORK if path is None else path
    if not path.is_file():
        raise PriorError(f"no slice network at {path}; give one made by `nisf train-slices`")
    header, tensors = read_weights(path, HEADER_KEY, "slice network")
    return _network(path.name, _info(path.name, header), tensors)


def _info(name: str, header: str) -> NetworkInfo:
    remedy = "train it again with `nisf train-slices`"
    info = parsed_header(name, header, NetworkInfo, FORMAT_VERSION, "slice network", remedy)
    if info.labels != LABEL_NAMES:
        raise PriorError(f"{name} has labels {info.labels}, this software uses {LABEL_NAMES}")
    return info


def _network(name: str, info: NetworkInfo, tensors: dict[str, Tensor]) -> SliceNetwork:
    check_finite(name, tensors)
    unet = SliceUNet(info.network)
    try:
        unet.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except RuntimeError as error:
        raise PriorError(f"{name}: weights do not fit its configuration: {error}") from error
    unet.requires_grad_(False).eval()
    return SliceNetwork(info, unet)
