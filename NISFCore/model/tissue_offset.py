"""How much brighter each tissue of one examination is than the prior expects.

    f'(x) = f(x) + sum_l p_l(x) o_l

with the decoder's label probabilities p. Scanners, sequences and contrast agents differ more than
the hearts that a prior has seen, and what the latent cannot express as contrast it would otherwise
express as shape. Not in the paper.
"""

from torch import Tensor


def offset_intensity(
    intensity: Tensor, label_probabilities: Tensor, tissue_offset: Tensor
) -> Tensor:
    """f' at n points, `(n,)`.

    Args:
        intensity, label_probabilities: f `(n,)` and p `(n, N_LABELS)` of the decoder.
        tissue_offset: `(n, N_LABELS)`, or `(1, N_LABELS)` for one subject.
    """
    return intensity + (label_probabilities * tissue_offset).sum(1)
