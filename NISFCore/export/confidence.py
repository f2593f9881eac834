"""A map of how sure every voxel's label is, in percent.

The fit's uncertainty matters where labels meet: voxels within `REACH_MM` of another label are
evaluated, one network pass and its derivative each; those farther away are sure.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from NISFCore.analysis.fitted import FittedStudy
from NISFCore.analysis.lattice import POINTS_PER_CHUNK
from NISFCore.analysis.rendering import LABELS_ONLY, render_grid
from NISFCore.errors import ConfigError, OutputError
from NISFCore.export.nrrd_files import write_volume_nrrd
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import apply_affine
from NISFCore.progress import CancelToken

REACH_MM = 5.0
SURE_PERCENT = 100


def confidence_percent(
    fitted: FittedStudy,
    labels: npt.NDArray[np.uint8],
    grid: Grid,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
) -> npt.NDArray[np.uint8]:
    """Probability of each voxel's label, `(n_k, n_j, n_i)` uint8 in percent.

    Args:
        labels: the rendered labels on the grid.

    Raises:
        Cancelled: if the job was asked to stop.
        ValueError: if the fit does not tell how sure it is.
    """
    percent = np.full(labels.shape, SURE_PERCENT, dtype=np.uint8)
    kji = np.argwhere(near_other_labels(labels, REACH_MM / grid.spacing_mm[0]))
    for chunk in np.array_split(kji, max(1, len(kji) // POINTS_PER_CHUNK)):
        if cancel is not None:
            cancel.check()
        points = apply_affine(grid.ras_from_ijk, chunk[:, ::-1])
        inside = fitted.field.contains(points)
        known = fitted.label_confidence(points[inside], cycle_fraction)
        if known is None:
            raise ValueError("this fit has no uncertainty")
        percent[tuple(chunk[inside].T)] = np.rint(100 * known).astype(np.uint8)
    return percent


def write_certainty(
    fitted: FittedStudy,
    path: Path,
    spacing_mm: float,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
) -> None:
    """Write the map of one time of the cycle as a NRRD volume, whole or not at all.

    Raises:
        ConfigError: if the fit does not tell how sure it is.
        OutputError: if the file cannot be written.
        Cancelled: if the job was asked to stop.
    """
    if fitted.uncertainty is None:
        raise ConfigError(
            "certainty: this fit's solver does not tell how sure it is; fit with the default "
            "configuration"
        )
    grid = fitted.field.box.grid(spacing_mm)
    phase = render_grid(fitted.field, grid, cycle_fraction, cancel, LABELS_ONLY)
    percent = confidence_percent(fitted, phase.labels, grid, cycle_fraction, cancel)
    temporary = path.with_name(f".part-{path.name}")
    try:
        write_volume_nrrd(temporary, percent, grid.ras_from_ijk)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def near_other_labels(labels: npt.NDArray[np.uint8], reach_voxels: float) -> npt.NDArray[np.bool_]:
    """True for voxels with another label within the reach."""
    size = 2 * max(1, round(reach_voxels)) + 1
    low, high = ndimage.minimum_filter(labels, size), ndimage.maximum_filter(labels, size)
    return np.asarray(low != high)
