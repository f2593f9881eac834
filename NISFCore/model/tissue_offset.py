"""How much brighter each tissue of one examination is than the prior expects.

    f'(x) = f(x) + sum_l p_l(x) o_l

with the decoder's label probabilities p. Scanners, sequences and contrast agents differ more than
the hearts that a prior has seen, and what the latent cannot express as contrast it would otherwise
express as shape. Not in the paper.
"""

import torch
from torch import Tensor

from NISFCore.model.decoder import DecoderOutput


def offset_intensity(output: DecoderOutput, tissue_offset: Tensor) -> Tensor:
    """f' at n points, `(n,)`.

    Args:
        tissue_offset: `(n, N_LABELS)`, or `(1, N_LABELS)` for one subject.
    """
    return output.intensity + (torch.softmax(output.label_logits, 1) * tissue_offset).sum(1)
