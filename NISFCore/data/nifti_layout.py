"""Which NIfTI files of a folder are images, labels and single frames, by the names in use.

Known: ACDC (`patient001_4d`, `patient001_frame01`, `..._frame01_gt`, `Info.cfg`), M&Ms
(`X_sa`, `X_sa_gt`), M&Ms-2 (`001_SA_CINE`, `001_SA_ED`, `001_SA_ED_gt`, the same with LA, a
4-chamber view), UK Biobank conversions (`sa`, `la_2ch`, `label_sa`, `seg_sa`, `sa_ED`), and
`<name>_seg` beside `<name>`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from NISFCore.data.nifti_images import is_nifti, nifti_stem
from NISFCore.data.view_hints import view_hint
from NISFCore.errors import StudyError
from NISFCore.views import View

_LABEL_PREFIX = re.compile(r"^(?:label|labels|seg|mask|gt)[_-]", re.IGNORECASE)
_LABEL_SUFFIX = re.compile(r"[_-](?:gt|seg|label|labels|mask)$", re.IGNORECASE)
_ATRIAL_LABELS = re.compile(r"^(?:seg|label)_la_", re.IGNORECASE)
_FRAME = re.compile(r"[_-](?:(ed)|(es)|frame(\d+))$", re.IGNORECASE)
_WHOLE_CYCLE = re.compile(r"[_-](?:4d|cine)$", re.IGNORECASE)
_ACDC = re.compile(r"^patient\d+", re.IGNORECASE)
_MNMS2_LA = re.compile(r"^\d+_LA$", re.IGNORECASE)


@dataclass(frozen=True)
class FrameFile:
    """One phase stored in its own file.

    `tag` is "ED", "ES" or a one-based frame number as in ACDC.
    """

    path: Path
    tag: str


@dataclass(frozen=True)
class ImageFiles:
    """All files of one view.

    Attributes:
        key: the common part of their names.
        cine: the file with all phases, if there is one.
        frames: single phases, in order of name.
        cine_labels, frame_labels: the same for labels.
        view: view that the names state, if they do.
        is_acdc: labels are numbered as in ACDC (1 RV, 2 myocardium, 3 LV).
    """

    key: str
    cine: Path | None
    frames: tuple[FrameFile, ...]
    cine_labels: Path | None
    frame_labels: tuple[FrameFile, ...]
    view: View | None
    is_acdc: bool


@dataclass(frozen=True)
class _NamedFile:
    path: Path
    key: str
    tag: str | None
    is_label: bool


def find_images(folder: Path) -> tuple[list[ImageFiles], list[str]]:
    """All views of a folder (not of its subfolders), and messages about files left out.

    Raises:
        StudyError: if the folder has no NIfTI image, or two files for the same thing.
    """
    paths = sorted(p for p in folder.iterdir() if is_nifti(p))
    atrial = [p for p in paths if _ATRIAL_LABELS.match(p.name)]
    named = [_named(p) for p in paths if p not in atrial]
    keys = sorted({f.key for f in named if not f.is_label})
    messages = [f"{p.name}: labels of the atria (UK Biobank convention), not used" for p in atrial]
    orphans = [f.path.name for f in named if f.is_label and f.key not in keys]
    messages += [f"{name}: labels without an image, not used" for name in orphans]
    return [_image_files(key, [f for f in named if f.key == key]) for key in keys], messages


def _named(path: Path) -> _NamedFile:
    """Split a name into key, phase and kind; a folder's `x_4d` and `x_frame01` share a key."""
    stem = nifti_stem(path.name)
    without = _LABEL_SUFFIX.sub("", _LABEL_PREFIX.sub("", stem))
    match = _FRAME.search(without)
    tag = None
    if match is not None:
        tag = (match.group(1) or match.group(2) or match.group(3)).upper()
        without = without[: match.start()]
    key = _WHOLE_CYCLE.sub("", without)
    return _NamedFile(path, key, tag, is_label=without_label(stem) != stem)


def without_label(stem: str) -> str:
    """A stem without the marks of a label file."""
    return _LABEL_SUFFIX.sub("", _LABEL_PREFIX.sub("", stem))


def _image_files(key: str, files: Sequence[_NamedFile]) -> ImageFiles:
    is_acdc = bool(_ACDC.match(key))
    return ImageFiles(
        key=key,
        cine=_only(files, is_label=False),
        frames=_frames(files, is_label=False),
        cine_labels=_only(files, is_label=True),
        frame_labels=_frames(files, is_label=True),
        view=_view(key, is_acdc),
        is_acdc=is_acdc,
    )


def _view(key: str, is_acdc: bool) -> View | None:
    if _MNMS2_LA.match(key):
        return View.LA_4CH
    hint = view_hint(key)
    return View.SA if hint is None and is_acdc else hint


def _only(files: Sequence[_NamedFile], is_label: bool) -> Path | None:
    whole = [f.path for f in files if f.tag is None and f.is_label == is_label]
    if len(whole) > 1:
        names = ", ".join(p.name for p in whole)
        raise StudyError(f"{names}: more than one file for the same view; keep one of them")
    return whole[0] if whole else None


def _frames(files: Sequence[_NamedFile], is_label: bool) -> tuple[FrameFile, ...]:
    return tuple(FrameFile(f.path, f.tag) for f in files if f.tag and f.is_label == is_label)
