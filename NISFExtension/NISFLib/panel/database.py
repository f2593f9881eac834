"""Studies of Slicer's DICOM database that hold MR series."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from NISFLib.input_sources import InputSources
from NISFLib.panel.bindings import set_quietly


@dataclass(frozen=True)
class DatabaseStudy:
    """One study: what is shown of it, and its MR series."""

    title: str
    series: tuple[str, ...]


class DatabaseView:
    """The list of studies, as Slicer's DICOM browser calls them."""

    def __init__(self, ui: Any, sources: InputSources, changed: Callable[[], None]) -> None:
        self._combo, self._sources, self._changed = ui.databaseCombo, sources, changed
        self._studies: list[DatabaseStudy] = []
        self._combo.connect("currentIndexChanged(int)", self._chosen)
        ui.databaseRefresh.connect("clicked()", self.fill)

    def fill(self) -> None:
        """Look into the database again; the chosen study stays chosen if it is still there."""
        chosen = self._sources.series
        self._sources.database = getattr(slicer, "dicomDatabase", None)
        self._studies = studies_of(self._sources.database)
        set_quietly(self._combo, self._show)
        indices = [k for k, study in enumerate(self._studies) if study.series == chosen]
        self._choose(indices[0] if indices else (0 if self._studies else -1))

    def _show(self) -> None:
        self._combo.clear()
        for study in self._studies:
            self._combo.addItem(study.title)

    def _choose(self, index: int) -> None:
        set_quietly(self._combo, lambda: self._combo.setCurrentIndex(index))
        self._sources.series = self._studies[index].series if index >= 0 else ()

    def _chosen(self, index: int) -> None:
        self._choose(index)
        self._changed()


def studies_of(database: Any) -> list[DatabaseStudy]:
    """All studies with MR series; none where there is no open database."""
    if database is None or not database.isOpen:
        return []
    found = []
    for number, patient in enumerate(database.patients(), start=1):
        for study in database.studiesForPatient(patient):
            series = tuple(uid for uid in database.seriesForStudy(study) if _is_mr(database, uid))
            if series:
                description = database.descriptionForStudy(study) or "study"
                title = f"Patient {number}: {description} ({len(series)} MR series)"
                found.append(DatabaseStudy(title, series))
    return found


def _is_mr(database: Any, series: str) -> bool:
    """By the database's own table: a tag that it has not kept would be read from a file of every
    series, which takes minutes where there are thousands."""
    return str(database.fieldForSeries("Modality", series)) == "MR"
