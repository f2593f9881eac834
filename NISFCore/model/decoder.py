"""The decoder f_psi(x, t, h) -> (intensity, label logits) shared by all hearts (section 3.2).

A ReLU input layer of the encoded coordinate and the latent, blocks of ReLU layers whose output is
added to the input layer's features, and one linear head for intensity (sigmoid) and four labels.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from NISFCore.labels import N_LABELS
from NISFCore.model.config import DecoderConfig
from NISFCore.model.encoding import CoordinateEncoding

RESIDUAL_GAIN = 0.35
"""Initial gain of a block's last layer; deep stacks collapse to a constant without it."""


MIN_NOISE_SD = 0.02
"""Floor of the predicted noise: below a cine's own noise there is nothing to be gained."""


class DecoderOutput(NamedTuple):
    """Values at n points: intensity `(n,)` in [0, 1], label logits `(n, 4)`, noise sd `(n,)`.

    The noise is how far an image may differ from the intensity there; one everywhere if the
    network does not predict it.
    """

    intensity: Tensor
    label_logits: Tensor
    noise_sd: Tensor


class Decoder(nn.Module):
    """Multi-layer perceptron over points; the subject enters by its latent only.

    Attributes:
        hidden_dtype: of the hidden layers' products in `forward`, if not that of the weights.
            Coordinates, input layer and head are never rounded: where a point lies decides.
    """

    hidden_dtype: torch.dtype | None = None

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoding = CoordinateEncoding(
            config.n_space_bands, config.n_time_bands, config.half_extent_mm
        )
        self.point_layer = nn.Linear(self.encoding.n_features, config.width)
        self.latent_layer = nn.Linear(config.n_latent, config.width, bias=False)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_blocks))
        self.head = nn.Linear(config.width, 1 + N_LABELS + int(config.predicts_noise))
        self._initialise()

    def forward(self, points_mm: Tensor, cycle_fraction: Tensor, latent: Tensor) -> DecoderOutput:
        """Evaluate.

        Args:
            points_mm: `(n, 3)` canonical.
            cycle_fraction: `(n,)`.
            latent: `(n, n_latent)`, or `(1, n_latent)` for one subject.
        """
        encoded = self.encoding(points_mm, cycle_fraction)
        features = torch.relu(self.point_layer(encoded) + self.latent_layer(latent))
        dtype = self.hidden_dtype or encoded.dtype
        with torch.autocast(encoded.device.type, dtype, enabled=dtype != encoded.dtype):
            hidden = features = features.to(dtype)
            for block in self.blocks:
                hidden = block(hidden) + features
        return self.answer(self.head(hidden.to(encoded.dtype)))

    def answer(self, output: Tensor) -> DecoderOutput:
        """What the head's numbers `(n, n_outputs)` mean."""
        intensity = torch.sigmoid(output[:, 0])
        logits = output[:, 1 : 1 + N_LABELS]
        if not self.config.predicts_noise:
            return DecoderOutput(intensity, logits, torch.ones_like(intensity))
        noise_sd = MIN_NOISE_SD + torch.nn.functional.softplus(output[:, -1] - 2.0)
        return DecoderOutput(intensity, logits, noise_sd)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for block in self.blocks:
                block[-2].weight.mul_(RESIDUAL_GAIN)  # type: ignore[index]
            self.latent_layer.weight.mul_(1 / math.sqrt(2))
            self.head.weight.mul_(0.2)


def _block(config: DecoderConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.layers_per_block):
        layers += [nn.Linear(config.width, config.width), nn.ReLU()]
    return nn.Sequential(*layers)
