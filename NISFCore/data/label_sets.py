"""Numbers of reference labels that leave something open (see `NISFCore.labels`)."""

import numpy as np
import numpy.typing as npt

from NISFCore.labels import EITHER, N_LABELS, Label


def possible_labels() -> npt.NDArray[np.bool_]:
    """`(256, N_LABELS)`: which labels a pixel with a number in reference labels may have.

    All False for numbers that mean nothing.
    """
    numbers, labels = np.arange(256)[:, None], np.arange(N_LABELS)
    members = (numbers >= EITHER) & (numbers & (1 << labels) != 0)
    is_set = members.sum(axis=1, keepdims=True) > 1
    return np.asarray((numbers == labels) | (members & is_set))


def is_open(labels: npt.NDArray[np.uint8], label: Label) -> npt.NDArray[np.bool_]:
    """Where reference labels do not tell whether a pixel has this label."""
    return np.asarray((labels >= EITHER) & (labels & np.uint8(1 << label) != 0))
