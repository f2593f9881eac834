"""Where studies come from and files go: a folder, Slicer's DICOM database, the scene.

The worker reads files, so that a database's series are linked (or copied) and sequences of the
scene are written into the work folder first. File names there are numbers: they identify nobody.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from NISFCore.errors import OutputError, StudyError
from NISFLib.scene import (
    HeartScene,
    SceneFormat,
    save_bundle,
    save_files,
    write_cine_input,
)
from NISFLib.settings import Settings, Source
from NISFLib.work_folder import WorkFolder

BUNDLE_NAME = "heart.mrb"
LoadProgress = Callable[[str, int, int], None]


class DicomDatabase(Protocol):
    """The part of ctkDICOMDatabase that is used."""

    def filesForSeries(self, series: str) -> Sequence[str]: ...  # noqa: N802


class InputSources:
    """The sources that this Slicer offers.

    Attributes:
        database: Slicer's DICOM database, or None.
        series: chosen in it, as series instance UIDs.
        sequences: chosen in the scene (vtkMRMLSequenceNode).
    """

    def __init__(self, database: DicomDatabase | None = None) -> None:
        self.database = database
        self.series: tuple[str, ...] = ()
        self.sequences: tuple[Any, ...] = ()

    def why_not(self, settings: Settings) -> str:
        """Why there is nothing to read; empty if there is."""
        if settings.source is Source.FOLDER:
            if not settings.input_path:
                return "Choose a folder, a zip or a file."
            if not Path(settings.input_path).exists():
                return f"There is no {settings.input_path}; choose a folder, a zip or a file."
        elif settings.source is Source.DATABASE and not self.series:
            return "Choose a study of the DICOM database (import it in Slicer's DICOM module)."
        elif settings.source is Source.SCENE and not self.sequences:
            return "Check the cine sequences of the scene that are to be used."
        return ""

    def identity(self, settings: Settings) -> object:
        """Equal for equal studies read in the same way."""
        chosen: dict[Source, object] = {
            Source.FOLDER: settings.input_path,
            Source.DATABASE: self.series,
            Source.SCENE: tuple(node.GetID() for node in self.sequences),
        }
        views = tuple(sorted(settings.corrections.views.items()))
        return settings.source, chosen[settings.source], settings.examination, views

    def prepare(self, settings: Settings, work: WorkFolder) -> Path:
        """The path that the worker reads.

        Raises:
            StudyError: if the database has lost the files.
            SceneError, OutputError: if files cannot be written.
        """
        if settings.source is Source.FOLDER:
            return Path(settings.input_path)
        folder = work.new("input")
        if settings.source is Source.SCENE:
            return write_cine_input(self.sequences, folder)
        assert self.database is not None
        for number, uid in enumerate(self.series, start=1):
            _link_files(self.database.filesForSeries(uid), folder / f"series_{number:03d}")
        return folder

    def check_export(self, settings: Settings) -> None:
        """Refuse early what cannot be written.

        Raises:
            OutputError: if there is a folder to write to that is none, or cannot be written.
        """
        if not settings.export_folder:
            return
        folder = Path(settings.export_folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
        if not os.access(folder, os.W_OK):
            raise OutputError(f"cannot write {folder}: it is read-only; choose another folder")

    def write(self, heart: HeartScene, settings: Settings, progress: LoadProgress) -> None:
        """Write the chosen files of what the scene shows.

        Raises:
            SceneError: if a file cannot be written.
        """
        if not settings.export_folder:
            return
        folder = Path(settings.export_folder)
        formats = [SceneFormat[name] for name in settings.formats]
        if formats:
            save_files(heart, folder, formats, progress=progress)
        if settings.bundle:
            save_bundle(heart, folder / BUNDLE_NAME)


def _link_files(files: Sequence[str], folder: Path) -> None:
    """Hard links where the file system has them, else copies."""
    try:
        folder.mkdir(parents=True)
        for number, file in enumerate(files, start=1):
            target = folder / f"{number:05d}.dcm"
            try:
                os.link(file, target)
            except OSError:
                shutil.copyfile(file, target)
    except FileNotFoundError as error:
        raise StudyError(
            "files of this series are not on the disk any more; import it into the DICOM database "
            "again"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot copy the series: {error.strerror or error}") from error
