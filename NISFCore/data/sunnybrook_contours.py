"""Contours of the Sunnybrook Cardiac Data as labels of the phases they were drawn on.

A file `IM-0001-0048-icontour-manual.txt` holds one closed polygon, a line "x y" per point, in
pixels of image 48 of the short-axis series; (0, 0) is taken as the centre of the first pixel.
`icontour` is the endocardium (LV blood pool within, papillary muscles included), `ocontour` the
epicardium; `p1contour` and `p2contour` are papillary muscles and not used. The first number is
that of a series before the data were renumbered and means nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from NISFCore.data.dicom_frames import FrameRecord
from NISFCore.data.study import SliceLabels
from NISFCore.labels import Label, either

LV = either(Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM)
NO_LV = either(Label.BACKGROUND, Label.RV_BLOOD_POOL)
NO_LV_BLOOD = either(Label.BACKGROUND, Label.LV_MYOCARDIUM, Label.RV_BLOOD_POOL)

MIN_POINTS = 3
MAX_OUTSIDE_PIXELS = 0.5
"""A point beyond the outer edge of the image's pixels was not drawn on this image."""

_CONTOUR = re.compile(r"^IM-\d+-(\d+)-(i|o|p1|p2)contour-manual\.txt$", re.IGNORECASE)
_IMAGE = re.compile(r"^IM-\d+-(\d+)\.dcm$", re.IGNORECASE)

Polygon = npt.NDArray[np.float64]
"""`(n, 2)`: x (column) and y (row)."""


@dataclass(frozen=True)
class ImageContours:
    """The contour files of one image; None where there is none."""

    endocardium: Path | None = None
    epicardium: Path | None = None


@dataclass
class LeftOut:
    """Images whose contours are not used, by number, and why."""

    unreadable: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)
    no_image: list[int] = field(default_factory=list)

    def messages(self) -> list[str]:
        """One line for each reason that occurred."""
        reasons = (
            (self.unreadable, "have a contour file that is no list of points"),
            (self.outside, "have a contour that leaves the image"),
            (self.no_image, "belong to no image of the short-axis cine"),
        )
        return [
            f"contours of {len(numbers)} image(s) left out, they {why} ({_listed(numbers)})"
            for numbers, why in reasons
            if numbers
        ]


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(n) for n in sorted(numbers)[:5])
    return shown + (", ..." if len(numbers) > 5 else "")


def find_contours(folder: Path) -> dict[int, ImageContours]:
    """Contours of a folder (not of those below it) by image number."""
    files: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _CONTOUR.match(path.name)
        if match is not None and match.group(2).lower() in "io":
            files.setdefault(int(match.group(1)), {})[match.group(2).lower()] = path
    return {n: ImageContours(f.get("i"), f.get("o")) for n, f in sorted(files.items())}


def image_number(record: FrameRecord) -> int | None:
    """The number by which contours call an image: in its file's name, else its InstanceNumber."""
    match = _IMAGE.match(PurePosixPath(record.file).name)
    return int(match.group(1)) if match is not None else record.instance_number


def contoured_series(
    slices: Sequence[tuple[FrameRecord, ...]], contours: Mapping[int, ImageContours]
) -> str | None:
    """UID of the series that the contours were drawn on: the one with most of their images.

    Args:
        slices: images of each short-axis slice.
    """
    hits: dict[str, int] = {}
    for record in (r for records in slices for r in records):
        hits[record.series_uid] = hits.get(record.series_uid, 0) + (
            image_number(record) in contours
        )
    return max(hits, key=lambda uid: hits[uid]) if any(hits.values()) else None


def slice_labels(
    records: Sequence[FrameRecord], contours: Mapping[int, ImageContours], left_out: LeftOut
) -> SliceLabels | None:
    """Labels of one slice; a phase is annotated where a contour was drawn.

    Args:
        records: the image of each phase.
        left_out: takes the images whose contours cannot be used.

    Returns:
        None if no phase is annotated.
    """
    shape = records[0].shape
    values = np.zeros((len(records), *shape), dtype=np.uint8)
    annotated = np.zeros(len(records), dtype=np.bool_)
    for phase, record in enumerate(records):
        number = image_number(record)
        if number is None or number not in contours:
            continue
        frame = _frame_labels(number, contours[number], shape, left_out)
        if frame is not None:
            values[phase], annotated[phase] = frame, True
    return SliceLabels(values, annotated) if annotated.any() else None


def _frame_labels(
    number: int, contours: ImageContours, shape: tuple[int, int], left_out: LeftOut
) -> npt.NDArray[np.uint8] | None:
    files = (contours.endocardium, contours.epicardium)
    endocardium, epicardium = (None if file is None else _polygon(file) for file in files)
    drawn = [polygon for polygon in (endocardium, epicardium) if polygon is not None]
    if len(drawn) < 2 - files.count(None):
        left_out.unreadable.append(number)
        return None
    if not all(_is_inside(polygon, shape) for polygon in drawn):
        left_out.outside.append(number)
        return None
    return rasterised(endocardium, epicardium, shape)


def rasterised(
    endocardium: Polygon | None, epicardium: Polygon | None, shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """`(rows, cols)` labels of the pixels whose centres the polygons enclose.

    Nobody drew the RV: what lies outside may be RV, and may be the wall too where the epicardium
    was not drawn.
    """
    if epicardium is None:
        labels = np.full(shape, NO_LV_BLOOD, dtype=np.uint8)
    else:
        inside = LV if endocardium is None else int(Label.LV_MYOCARDIUM)
        labels = np.full(shape, NO_LV, dtype=np.uint8)
        labels[polygon2mask(shape, epicardium[:, ::-1])] = inside
    if endocardium is not None:
        labels[polygon2mask(shape, endocardium[:, ::-1])] = Label.LV_BLOOD_POOL
    return labels


def _polygon(path: Path) -> Polygon | None:
    """The points of a file; None if it holds something else, or fewer than `MIN_POINTS`."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        rows = [[float(v) for v in line.split()] for line in text.splitlines() if line.strip()]
    except (OSError, ValueError):
        return None
    if len(rows) < MIN_POINTS or any(len(row) != 2 for row in rows):
        return None
    points = np.array(rows)
    return points if np.isfinite(points).all() else None


def _is_inside(points: Polygon, shape: tuple[int, int]) -> bool:
    rows, cols = shape
    low, high = -MAX_OUTSIDE_PIXELS, np.array([cols, rows]) - 1 + MAX_OUTSIDE_PIXELS
    return bool((points >= low).all() and (points <= high).all())
