"""What an export takes over from a motion folder: the report's section and the tables."""

import shutil
from html import escape
from pathlib import Path

from NISFCore.errors import ResultError
from NISFCore.export.figures import Picture
from NISFCore.motion.storage import MOTION_FILE, load_motion

MOTION_FOLDER = "motion"
TABLES = ("strain.csv", "segments.csv", "segment_curves.csv")
CAPTIONS = {
    "bullseye.png": "Peak strain of the 17 AHA segments",
    "curves.png": "Strain and torsion over the cycle",
    "es_strain.png": "The LV wall at the time of most circumferential shortening",
}
NOT_MADE = (
    '<p class="muted">Not estimated: run “nisf motion fit” on the result, then export again.</p>'
)


def motion_folder_of(result_folder: Path) -> Path | None:
    """The motion in a result folder, where there is one."""
    folder = result_folder / MOTION_FOLDER
    return folder if (folder / MOTION_FILE).is_file() else None


def motion_section(folder: Path | None) -> str:
    """HTML: pictures of the strain, and what to know of it.

    Raises:
        ResultError: if the folder is incomplete or damaged.
    """
    if folder is None:
        return NOT_MADE
    notes = "".join(f"<li>{escape(text)}</li>" for text in load_motion(folder).warnings)
    images = "".join(_image(folder / name, alt) for name, alt in CAPTIONS.items())
    return images + (f"<ul>{notes}</ul>" if notes else "")


def copy_motion_tables(folder: Path, out: Path) -> list[str]:
    """Copy the tables; returns their names.

    Raises:
        ResultError: if one is missing.
        OSError: if one cannot be written.
    """
    for name in TABLES:
        if not (folder / name).is_file():
            raise ResultError(f"{folder} has no {name}; estimate the motion again")
        shutil.copyfile(folder / name, out / name)
    return list(TABLES)


def _image(path: Path, alt: str) -> str:
    try:
        picture = Picture(path.read_bytes(), "image/png")
    except OSError as error:
        raise ResultError(f"{path.parent} has no {path.name}; estimate the motion again") from error
    return f'<img class="wide" alt="{escape(alt)}" src="{picture.data_uri}">'
