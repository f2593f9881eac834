"""Two points on a long-axis slice, where the leaflets hang: they say where the LV ends.

On the apex's side of the line between them is the LV's cavity, on the other nothing of the heart as
it is modelled: atrium, aorta. As files they are a line of 3D Slicer's Markups (`.mrk.json`), whose
schema is at https://slicer.readthedocs.io (Markups module, file format).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.distance import pdist, squareform

from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine, ras_from_lps
from NISFCore.labels import N_LABELS, Label

SUFFIX = ".mrk.json"

MIN_LENGTH_MM, MAX_LENGTH_MM = 10.0, 80.0
"""Of a mitral valve between its hinges: about 35 mm, 50 where the ring is dilated."""
UNSURE_MM = 1.5
"""On both sides of the line: a point is placed to about a pixel."""
CAVITY_MM, BEYOND_MM = 6.0, 10.0
"""How deep the line speaks of the cavity, and of what is behind it."""
HINGE_MM = 3.0
"""Near its ends the cavity's side may be wall."""
ASIDE_MM = 5.0
"""So far beside the hinges is the other side none of the wall either."""


def is_valve_file(path: Path) -> bool:
    """Whether a file's name says that it holds Markups."""
    return path.name.lower().endswith(SUFFIX)


def read_valve_points(path: Path) -> Points:
    """The two points `(2, 3)` of a line, RAS mm.

    Raises:
        StudyError: if the file is missing, damaged, or holds anything but one line.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        (markup,) = content["markups"]
        space, found = markup["coordinateSystem"], markup["controlPoints"]
        points = np.array([point["position"] for point in found], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path.name}: no line of 3D Slicer's Markups can be read from it "
            f"({type(error).__name__}); save one line of two points as {SUFFIX}"
        ) from error
    if points.shape != (2, 3) or not np.isfinite(points).all():
        raise StudyError(
            f"{path.name}: got {len(found)} point(s), expected the two hinges of a valve: save a "
            "line of two points"
        )
    if space not in ("LPS", "RAS"):
        raise StudyError(f"{path.name}: got coordinate system {space!r}, allowed: LPS, RAS")
    return apply_affine(ras_from_lps(), points) if space == "LPS" else points


@dataclass(frozen=True)
class ValveLine:
    """Where an LV ends in the plane of a slice.

    Attributes:
        middle_ras: `(3,)`.
        across_ras: unit vector along the line.
        to_apex_ras: unit vector at right angles to it in the slice.
        length_mm: between the hinges.
    """

    middle_ras: Points
    across_ras: Points
    to_apex_ras: Points
    length_mm: float

    @classmethod
    def on(cls, cine: CineSlice, points_ras: Points, base_from_apex_ras: Points) -> "ValveLine":
        """The line between two points, seen in a slice.

        Raises:
            StudyError: if the points do not lie in the slice, are no valve apart, or the line runs
                along the LV.
        """
        normal = cine.normal_ras
        off_mm = np.abs((points_ras - cine.centre_ras) @ normal).max()
        if off_mm > cine.thickness_mm / 2:
            raise StudyError(
                f"valve: a point lies {off_mm:.1f} mm off {cine.name}; place both in that slice "
                "(at most half its thickness off)"
            )
        step = points_ras[1] - points_ras[0]
        step = step - (step @ normal) * normal
        length = float(np.linalg.norm(step))
        if not MIN_LENGTH_MM <= length <= MAX_LENGTH_MM:
            raise StudyError(
                f"valve: the points on {cine.name} are {length:.0f} mm apart; hinges of a valve "
                f"are {MIN_LENGTH_MM:.0f} to {MAX_LENGTH_MM:.0f} mm apart"
            )
        across = step / length
        to_apex = np.cross(normal, across)
        along = float(to_apex @ base_from_apex_ras)
        if abs(along) < 0.5:
            raise StudyError(
                f"valve: the line on {cine.name} runs along the LV, not across its base; place a "
                "point at each hinge of the valve"
            )
        return cls(points_ras.mean(axis=0), across, -np.sign(along) * to_apex, length)


def valve_labels(
    cine: CineSlice, line: ValveLine
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What a line says of a slice's pixels: probabilities `(rows, cols, N_LABELS)`, and where it
    says anything `(rows, cols)`."""
    from_middle = pixel_centres_ras(cine.ras_from_ijk, cine.shape) - line.middle_ras
    depth, aside = from_middle @ line.to_apex_ras, np.abs(from_middle @ line.across_ras)
    half = line.length_mm / 2
    cavity = (depth > UNSURE_MM) & (depth < CAVITY_MM) & (aside < half - HINGE_MM)
    beyond = (depth < -UNSURE_MM) & (depth > -BEYOND_MM) & (aside < half + ASIDE_MM)
    p = np.zeros((*cine.shape, N_LABELS), dtype=np.float32)
    p[cavity, Label.LV_BLOOD_POOL] = 1
    p[beyond, Label.BACKGROUND] = 1
    return p, np.asarray(cavity | beyond)


def valve_pixels(labels: npt.NDArray[Any]) -> Points | None:
    """The hinges `(2, 2)` as (row, column) in a long-axis label map `(rows, cols)`: the ends of
    the longest border between LV cavity and background. None if there is none."""
    cavity, nothing = labels == Label.LV_BLOOD_POOL, labels == Label.BACKGROUND
    open_side = cavity & ndimage.binary_dilation(nothing, ndimage.generate_binary_structure(2, 1))
    parts, n_parts = ndimage.label(open_side, np.ones((3, 3)))
    if n_parts == 0:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    border = [_halfway(largest, nothing, step) for step in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    points = np.concatenate(border)
    if len(points) < 3:
        return None
    apart = squareform(pdist(points))
    return points[list(np.unravel_index(np.argmax(apart), apart.shape))]


def _halfway(
    inside: npt.NDArray[np.bool_], outside: npt.NDArray[np.bool_], step: tuple[int, int]
) -> Points:
    """Between pixels inside and their neighbours in one direction that are outside, `(n, 2)`."""
    neighbour = ndimage.shift(outside, (-step[0], -step[1]), order=0, mode="constant", cval=False)
    return np.argwhere(inside & neighbour) + np.array(step) / 2
