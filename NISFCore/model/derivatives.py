"""Derivatives of a decoder's answers by the points and by one subject's code.

A solver asks for the row dv/dh of every voxel, h being hundreds of numbers, of a network whose
weights are frozen. Autograd would carry all of h for every sample, and keep what only derivatives
by weights need. Here one backward pass ends at the input layer a and at the moved points y; the
samples of a voxel are added up there, and what is left are two small products:

    dv/dh = (sum_k dv/da_k) W,   dv/dc_m = sd_m b_m(t) sum_k psi_m(x_k) dv/dy_k,   y = x + w(x, t)

Hidden layers may be computed in bfloat16, twice as fast and more on processors that multiply it
(`device.hidden_dtype`). Coordinates, input layer and head keep the precision of their weights:
where a voxel lies must not be rounded.
"""

import torch
from torch import Tensor, nn

from NISFCore.model.decoder import Decoder, DecoderOutput
from NISFCore.model.shape_warp import AnyDecoder, WarpAtPoints, WarpedDecoder


class DecoderPass:
    """One forward pass for one subject that a backward pass may follow.

    Attributes:
        output: of the decoder; `values` are made of it with gradients enabled.

    Args:
        points_mm: `(n, 3)` canonical.
        cycle_fraction: `(n,)`.
        code: `(1, n_code)`.
        hidden_dtype: of the hidden layers; by default that of the weights.
    """

    @torch.no_grad()
    def __init__(
        self,
        decoder: AnyDecoder,
        points_mm: Tensor,
        cycle_fraction: Tensor,
        code: Tensor,
        hidden_dtype: torch.dtype | None = None,
    ) -> None:
        self._warp: WarpAtPoints | None = None
        if isinstance(decoder, WarpedDecoder):
            self._warp = decoder.at(points_mm, cycle_fraction, code)
            points_mm, decoder = self._warp.points_mm, decoder.decoder
        self._layers = _Layers(decoder, points_mm, cycle_fraction, code, hidden_dtype)
        with torch.enable_grad():
            self.output: DecoderOutput = decoder.answer(self._layers.raw.requires_grad_(True))

    def gradients(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of `(n_values,)` values, each made of n / n_values consecutive points.

        Returns:
            By the points `(n, 3)`; by the code `(n_values, n_code)`.
        """
        (by_raw,) = torch.autograd.grad(values.sum(), self._layers.raw)
        with torch.no_grad():
            by_moved, by_latent = self._layers.backward(by_raw, len(values))
            if self._warp is None:
                return by_moved, by_latent
            by_coefficients = self._warp.by_coefficients(by_moved, len(values))
            return self._warp.by_points(by_moved), torch.cat([by_latent, by_coefficients], dim=1)


class _Layers:
    """The decoder's layers, forwards with what the way back needs: where each ReLU was open.

    Attributes:
        raw: `(n, n_outputs)` of the head.
    """

    def __init__(
        self,
        decoder: Decoder,
        points_mm: Tensor,
        cycle_fraction: Tensor,
        code: Tensor,
        hidden_dtype: torch.dtype | None,
    ) -> None:
        self._decoder = decoder
        encoding, layer = decoder.encoding, decoder.point_layer
        self._space = encoding.space_features(points_mm)
        encoded = torch.cat([self._space, encoding.time_features(cycle_fraction)], dim=1)
        added = decoder.latent_layer(code[:, : decoder.config.n_latent])[0]
        features = torch.addmm(layer.bias + added, encoded, layer.weight.T).relu_()
        self._features = features = features.to(hidden_dtype or features.dtype)
        self._blocks = [_weights(block, features.dtype) for block in decoder.blocks]
        hidden, self._opened = features, list[list[Tensor]]()
        for block in self._blocks:
            opened = []
            for weight, bias in block:
                hidden = torch.addmm(bias, hidden, weight.T).relu_()
                opened.append(hidden)
            self._opened.append(opened)
            hidden = hidden + features
        self.raw: Tensor = decoder.head(hidden.to(layer.weight.dtype))

    def backward(self, by_raw: Tensor, n_values: int) -> tuple[Tensor, Tensor]:
        """Derivatives by points `(n, 3)` and, summed over each value's points, by the latent."""
        decoder = self._decoder
        by_hidden = (by_raw @ decoder.head.weight).to(self._features.dtype)
        by_features = torch.zeros_like(by_hidden)  # added up from every block's end
        for block, opened in zip(reversed(self._blocks), reversed(self._opened), strict=True):
            by_features += by_hidden
            for (weight, _), activity in zip(reversed(block), reversed(opened), strict=True):
                by_hidden = _through_relu(by_hidden, activity) @ weight
        by_input = _through_relu(by_features.add_(by_hidden), self._features).to(by_raw.dtype)
        n_space = self._space.shape[1]
        by_space = by_input @ decoder.point_layer.weight[:, :n_space]
        k = max(1, len(by_input) // max(1, n_values))
        by_voxel = by_input.view(n_values, k, by_input.shape[1]).sum(1)
        by_points = decoder.encoding.by_points(self._space, by_space)
        return by_points, by_voxel @ decoder.latent_layer.weight


def _weights(block: nn.Module, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each of a block's layers."""
    linear = [m for m in block.modules() if isinstance(m, nn.Linear)]
    return [(m.weight.to(dtype), m.bias.to(dtype)) for m in linear]


def _through_relu(by_output: Tensor, output: Tensor) -> Tensor:
    """In place: `by_output` becomes the derivative by what went into the ReLU."""
    through = torch.ops.aten.threshold_backward.grad_input
    return through(by_output, output, 0, grad_input=by_output)
