"""Label maps in NIfTI onto the grid and the phases of their image.

Labels are never interpolated: their grid must be the image's, up to a shift by whole voxels
(stacks that were padded) and a mirrored axis.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from NISFCore.data.nifti_images import NiftiImage
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine, invert_affine
from NISFCore.labels import EITHER, UNKNOWN, Label

ACDC_NUMBERS: dict[int, Label] = {
    1: Label.RV_BLOOD_POOL,
    2: Label.LV_MYOCARDIUM,
    3: Label.LV_BLOOD_POOL,
}
OUR_NUMBERS: dict[int, Label] = {int(label): label for label in Label if label}
RV_IS_4_NUMBERS: dict[int, Label] = {
    1: Label.LV_BLOOD_POOL,
    2: Label.LV_MYOCARDIUM,
    4: Label.RV_BLOOD_POOL,
}

MAX_GRID_ERROR = 0.1
"""Voxels that label and image grid may differ from a whole shift."""

MAX_NUMBER_ERROR = 0.01
"""By which a whole number may be missed, for the scaling of a file's header."""

Volume = npt.NDArray[np.uint8]


def label_numbers(
    labels: NiftiImage, is_acdc: bool, given: Mapping[str, int] | None
) -> tuple[dict[int, Label], str]:
    """Number in the file -> label, and a note on what was assumed ("" if given).

    255 is unknown in every file, whatever its numbers, and so are sets of labels (`either` in
    `NISFCore.labels`): not every pixel need be labelled.

    Raises:
        StudyError: if a number is not whole or has no known meaning.
    """
    values = _whole_numbers(labels) - {0, *range(EITHER + 1, UNKNOWN + 1)}
    if given is not None:
        numbers, note = _given_numbers(given), ""
    elif is_acdc:
        numbers, note = ACDC_NUMBERS, "labels numbered as in ACDC: 1 RV, 2 myocardium, 3 LV"
    elif 4 in values and 3 not in values:
        numbers, note = RV_IS_4_NUMBERS, "labels taken as 1 LV, 2 myocardium, 4 RV"
    else:
        numbers, note = OUR_NUMBERS, "labels taken as 1 LV, 2 myocardium, 3 RV"
    unknown = sorted(values - set(numbers))
    if unknown:
        raise StudyError(
            f"{labels.name}: got label number(s) {unknown}, known: {sorted(numbers)}; give their "
            "meaning as `label_numbers` in manifest.json"
        )
    return numbers, note


def _whole_numbers(labels: NiftiImage) -> set[int]:
    found = np.unique(labels.data).astype(np.float64)
    if not np.isfinite(found).all() or np.abs(found - np.rint(found)).max() > MAX_NUMBER_ERROR:
        raise StudyError(
            f"{labels.name}: got values that are not whole; label maps hold one whole "
            "number per voxel. Resample labels by the nearest voxel"
        )
    return {int(v) for v in np.rint(found)}


def _given_numbers(given: Mapping[str, int]) -> dict[int, Label]:
    allowed = {label.value for label in Label}
    if any(not (k.isascii() and k.isdigit()) or v not in allowed for k, v in given.items()):
        raise StudyError(
            f"manifest.json, label_numbers: got {dict(given)}, expected the files' numbers as keys "
            "and as values 0 background, 1 LV blood pool, 2 myocardium or 3 RV blood pool"
        )
    return {int(k): Label(v) for k, v in given.items()}


def renumbered(labels: NiftiImage, numbers: Mapping[int, Label]) -> Volume:
    """`(n_phases, n_k, n_j, n_i)` in the numbers of `NISFCore.labels`."""
    values = np.rint(np.asarray(labels.data, dtype=np.float64)).astype(np.int64)
    table = np.zeros(max([*numbers, int(values.max()), UNKNOWN]) + 1, dtype=np.uint8)
    table[EITHER : UNKNOWN + 1] = np.arange(EITHER, UNKNOWN + 1)
    for number, label in numbers.items():
        table[number] = int(label)
    return table[values]


def on_grid_of(
    image: NiftiImage, labels: NiftiImage, values: Volume
) -> tuple[Volume, npt.NDArray[np.bool_]]:
    """Label volume on the image's grid.

    Returns:
        `(n_label_phases, n_k, n_j, n_i)` and `(n_k,)`, which slices the labels cover.

    Raises:
        StudyError: if the grids are not the same up to whole voxels.
    """
    label_from_image = invert_affine(labels.ras_from_ijk) @ image.ras_from_ijk
    shift = np.rint(label_from_image[:3, 3]).astype(int)
    signs = np.rint(np.diag(label_from_image)[:3]).astype(int)
    sizes = np.array(image.data.shape[:0:-1])
    _check_grid(image, labels, label_from_image, signs, shift, sizes)
    result = np.zeros((len(values), *image.data.shape[1:]), dtype=np.uint8)
    inside, source = zip(
        *(
            _overlap(n, int(s), int(t), values.shape[3 - axis])
            for axis, (n, s, t) in enumerate(zip(sizes, signs, shift, strict=True))
        ),
        strict=True,
    )
    i, j, k = inside
    block = values[:, source[2]][:, :, source[1]][:, :, :, source[0]]
    result[np.ix_(np.arange(len(values)), k, j, i)] = block
    covered = np.zeros(image.n_slices, dtype=np.bool_)
    covered[k] = True
    return result, covered


def _check_grid(
    image: NiftiImage,
    labels: NiftiImage,
    label_from_image: Affine,
    signs: npt.NDArray[np.int_],
    shift: npt.NDArray[np.int_],
    sizes: npt.NDArray[np.int_],
) -> None:
    """Compare where the image's corners fall with the whole-voxel map."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (sizes - 1)
    exact = corners @ label_from_image[:3, :3].T + label_from_image[:3, 3]
    whole = corners * signs + shift
    if (np.abs(signs) != 1).any() or np.abs(exact - whole).max() > MAX_GRID_ERROR:
        raise StudyError(
            f"{labels.name}: its grid is not that of {image.name}; labels must lie on the voxels "
            "of their image"
        )


def _overlap(
    n: int, sign: int, shift: int, n_label: int
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Image indices along an axis that the labels cover, and their label indices."""
    index = np.arange(n)
    source = sign * index + shift
    inside = (source >= 0) & (source < n_label)
    return index[inside], source[inside]
