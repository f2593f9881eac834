"""The fit's labels in the pixels of a slice."""

from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.labels import N_LABELS
from NISFLib.scene.cycle import now_of
from NISFLib.scene.heart import label_volume
from NISFLib.scene.images import array_of_image
from NISFLib.scene.nodes import RECORD, Nodes, Role, SceneError, get_json, volume_affine
from NISFLib.scene.slices import motion_at

Labels = npt.NDArray[np.uint8]


def fitted_labels(nodes: Nodes, slice_name: str) -> Labels:
    """The fit's labels of the present phase in the pixels of a slice where the fit put it,
    `(rows, cols)`.

    Raises:
        SceneError: if there is no fit in the scene.
    """
    heart, motion = now_of(nodes, Role.SEGMENTATION), nodes.one(Role.SLICE_MOTION, slice_name)
    if heart is None or motion is None:
        raise SceneError("there is no fit to begin with; fit the study, or begin with nothing")
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    rows, cols = record["shape"]
    scanned = pixel_centres_ras(np.array(record["ras_from_ijk"]), (rows, cols))
    points = apply_affine(motion_at(motion, 1.0), scanned)
    volume = label_volume(heart)
    ijk = apply_affine(invert_affine(volume_affine(volume)), points.reshape(-1, 3))
    labels = interpolated_labels(array_of_image(volume.GetImageData()), ijk)
    return labels.reshape(rows, cols)


def interpolated_labels(labels: npt.NDArray[Any], ijk: npt.NDArray[np.float64]) -> Labels:
    """The label at voxel positions `(n, 3)` between the voxels of a label map `(n_k, n_j, n_i)`:
    that with the largest share of the eight around, `(n,)`; background outside."""
    n_kji = np.array(labels.shape)
    low = np.floor(ijk[:, ::-1]).astype(int)
    rest = ijk[:, ::-1] - low
    shares = np.zeros((len(ijk), N_LABELS))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, rest, 1 - rest), axis=1)
        kji = low + corner
        inside = ((kji >= 0) & (kji < n_kji)).all(axis=1)
        found = np.zeros(len(ijk), dtype=int)
        found[inside] = labels[tuple(kji[inside].T)]
        shares[np.arange(len(ijk)), np.clip(found, 0, N_LABELS - 1)] += weight
    return np.argmax(shares, axis=1).astype(np.uint8)
