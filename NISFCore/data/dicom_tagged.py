"""Cine or tagged: which acquisitions of a plane a reader is to use.

A series that says that it is tagged is none of a cine study's (`dicom_frames`); one that does not
say so is known by its first frames (`tags`). In a tagged study, a plane has one series for every
direction of lines.
"""

from collections.abc import Sequence

from NISFCore.data.dicom_frames import FrameRecord
from NISFCore.data.dicom_grouping import Acquisition
from NISFCore.data.dicom_pixels import Image, PixelReader
from NISFCore.data.dicom_timing import NotCineError, phase_timing
from NISFCore.data.study import TagLines
from NISFCore.data.tags import N_FRAMES, are_same_families, found_tags
from NISFCore.errors import StudyError

TaggedAcquisition = tuple[Acquisition, tuple[TagLines, ...]]
"""An acquisition and the tags that its first frames show."""
Repeats = tuple[list[Acquisition], tuple[TagLines, ...]]
"""Acquisitions of one plane that show the same, the last one last, and their tags."""


def series_of_plane(
    acquisitions: Sequence[Acquisition], pixels: PixelReader, tagged: bool
) -> tuple[list[Repeats], list[str]]:
    """The acquisitions of one plane to choose from, and what is left out, in words.

    Args:
        tagged: whether the tagged acquisitions are wanted, by direction of their lines, or the
            others.
    """
    seen = [(a, _tags_of(a, pixels)) for a in acquisitions]
    if tagged:
        return _by_families(seen), [
            f"series {a.first.series} left out: it is called tagged, and its first frames show no "
            "tag lines"
            for a, tags in seen
            if a.first.not_cine is not None and not tags
        ]
    cines = [a for a, tags in seen if not tags]
    messages = [f"series {a.first.series} left out: {described(tags)}" for a, tags in seen if tags]
    return ([(cines, ())] if cines else []), messages


def described(tags: Sequence[TagLines]) -> str:
    """Tags in words."""
    kind = "a grid of tags" if len(tags) > 1 else "tag lines"
    return f"it shows {kind} {tags[0].spacing_mm:.1f} mm apart, which is no plain cine"


def phase_order(acquisition: Acquisition) -> tuple[FrameRecord, ...]:
    """Frames in order of time, or as they came if they are no cine."""
    try:
        return phase_timing(acquisition.records).records
    except NotCineError:
        return acquisition.records


def _tags_of(acquisition: Acquisition, pixels: PixelReader) -> tuple[TagLines, ...]:
    frames = _first_images(acquisition, pixels)
    return found_tags(frames, acquisition.first.ras_from_pixel) if frames else ()


def _first_images(acquisition: Acquisition, pixels: PixelReader) -> list[Image]:
    try:
        images = [pixels.read(r) for r in phase_order(acquisition)[:N_FRAMES]]
    except StudyError:  # told where the slice is read
        return []
    return [image for image in images if image is not None]


def _by_families(seen: Sequence[TaggedAcquisition]) -> list[Repeats]:
    groups: list[Repeats] = []
    for acquisition, tags in seen:
        if not tags:
            continue
        same = next((g for g in groups if are_same_families(g[1], tags)), None)
        if same is None:
            groups.append(([acquisition], tags))
        else:
            same[0].append(acquisition)
    return groups
