"""A decoder at one time of the cycle for one subject, several times faster than `Decoder.forward`.

Latent and time are the same for all points of a rendering, so that their part of the input layer is
a constant: it is folded into the layer's bias. Points go through in chunks small enough for the
processor's cache, in buffers that are used again. Inference only: no gradients.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from NISFCore.labels import N_LABELS
from NISFCore.model.shape_warp import AnyDecoder, WarpedDecoder

CHUNK_CPU = 2048
"""Points at once: three buffers of 192 float32 are 5 MB, about a core's second-level cache."""
CHUNK_CUDA = 1 << 17


class FoldedDecoder:
    """Point function of one subject at one time; the same numbers as `Decoder.forward`.

    Args:
        decoder: is not changed; later changes of its parameters are not seen.
        latent: `(n_latent,)`, or the code `(n_code,)` of a `WarpedDecoder`.
        cycle_fraction: any number; t and t + 1 are the same time.
    """

    @torch.inference_mode()
    def __init__(self, decoder: AnyDecoder, latent: Tensor, cycle_fraction: float) -> None:
        self._warped: Callable[[Tensor], Tensor] = _unchanged
        if isinstance(decoder, WarpedDecoder):
            code = latent.to(decoder.sd_mm.device)
            amplitudes_mm = decoder.amplitudes_mm(code, cycle_fraction)
            self._warped = partial(decoder.warped, amplitudes_mm=amplitudes_mm)
            decoder, latent = decoder.decoder, latent[: decoder.n_latent]
        layer = decoder.point_layer
        device = layer.weight.device
        time = torch.tensor([cycle_fraction % 1.0], device=device)
        beat = decoder.encoding.time_features(time)[0]
        n_space = layer.in_features - len(beat)
        constant = decoder.latent_layer(latent.to(device)) + layer.weight[:, n_space:] @ beat
        self._encode = decoder.encoding.space_features
        self._input = (layer.bias + constant, layer.weight[:, :n_space].T.contiguous())
        self._blocks = [
            [(m.bias, m.weight.T) for m in block.modules() if isinstance(m, nn.Linear)]
            for block in decoder.blocks
        ]
        n_outputs = 1 + N_LABELS
        self._head = (decoder.head.bias[:n_outputs], decoder.head.weight[:n_outputs].T.contiguous())
        self._chunk = CHUNK_CUDA if device.type == "cuda" else CHUNK_CPU
        self.device = device

    @torch.inference_mode()
    def __call__(self, points_mm: Tensor) -> tuple[Tensor, Tensor]:
        """Intensity `(n,)` and label logits `(n, 4)` at canonical points `(n, 3)` float32."""
        n, width = len(points_mm), len(self._input[0])
        output = torch.empty(n, 1 + N_LABELS, device=self.device)
        size = min(n, self._chunk)
        buffers = [torch.empty(size, width, device=self.device) for _ in range(3)]
        for first in range(0, n, self._chunk):
            points = self._warped(points_mm[first : first + self._chunk])
            part = [buffer[: len(points)] for buffer in buffers]
            self._chunk_into(points, part, output[first : first + self._chunk])
        return torch.sigmoid_(output[:, 0]), output[:, 1:]

    def _chunk_into(self, points_mm: Tensor, buffers: list[Tensor], output: Tensor) -> None:
        features, hidden, other = buffers
        torch.addmm(self._input[0], self._encode(points_mm), self._input[1], out=features).relu_()
        current = features
        for block in self._blocks:
            for bias, weight in block:
                target = other if current is hidden else hidden
                torch.addmm(bias, current, weight, out=target).relu_()
                current = target
            current.add_(features)
        torch.addmm(self._head[0], current, self._head[1], out=output)


def _unchanged(points_mm: Tensor) -> Tensor:
    return points_mm
