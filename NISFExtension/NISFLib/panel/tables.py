"""Tables of the panel: slices that were read, their estimated motion, figures of the heart."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import qt

from NISFCore.views import View
from NISFLib.choices import VIEW_LABELS
from NISFLib.study_table import Corrections, SliceRow, StudyTable

ROW_PIXELS = 24
WARNING_COLOUR = "#b35c00"
VIEWS = tuple(VIEW_LABELS)
STUDY_COLUMNS = ("Use", "Slice", "View", "Phases", "RR ms", "Pos. mm", "Remark")
MOTION_COLUMNS = ("Slice", "Shift mm", "Rotation °", "Scale", "± mm", "± °", "Remark")
OUTLIER_TEXT = "moved much more than its neighbours: look at it"
FIGURE_NAMES = {
    "edv_ml": ("End-diastolic volume", "ml"),
    "esv_ml": ("End-systolic volume", "ml"),
    "sv_ml": ("Stroke volume", "ml"),
    "ef_percent": ("Ejection fraction", "%"),
    "mass_g": ("LV mass", "g"),
}


def text_item(text: str, tool_tip: str = "", is_warning: bool = False) -> Any:
    """A cell that cannot be edited."""
    item = qt.QTableWidgetItem(text)
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    if tool_tip:
        item.setToolTip(tool_tip)
    if is_warning:
        item.setForeground(qt.QBrush(qt.QColor(WARNING_COLOUR)))
    return item


def prepare(table: Any, columns: Sequence[str]) -> None:
    """Headers and looks of a table."""
    table.setColumnCount(len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(ROW_PIXELS)
    table.setAlternatingRowColors(True)


class StudyTableView:
    """The slices of a study, with their corrections."""

    def __init__(
        self,
        table: Any,
        on_included: Callable[[str, bool], None],
        on_view: Callable[[str, View], None],
        on_shown: Callable[[str], None],
    ) -> None:
        """
        Args:
            on_included: called with a slice's name and whether it is to be used.
            on_view: called with a series and the view that the user gives it.
            on_shown: called with a slice's name when it is double-clicked.
        """
        self._table, self._on_included, self._on_view = table, on_included, on_view
        self._on_shown = on_shown
        self._rows: tuple[SliceRow, ...] = ()
        self._combos: list[Any] = []
        self._is_filling = False
        prepare(table, STUDY_COLUMNS)
        table.connect("itemChanged(QTableWidgetItem*)", self._item_changed)
        table.connect("cellDoubleClicked(int,int)", self._double_clicked)

    def fill(self, study: StudyTable, corrections: Corrections) -> None:
        """Show a study."""
        self._is_filling = True
        self._rows, self._combos = study.rows, []
        self._table.setRowCount(len(study.rows))
        for number, row in enumerate(study.rows):
            self._fill_row(number, row, corrections)
        self._table.resizeColumnsToContents()
        self._is_filling = False

    def _fill_row(self, number: int, row: SliceRow, corrections: Corrections) -> None:
        use = qt.QTableWidgetItem()
        use.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
        is_used = row.recognised and row.name not in corrections.left_out
        use.setCheckState(qt.Qt.Checked if is_used else qt.Qt.Unchecked)
        if not row.recognised:
            use.setFlags(qt.Qt.NoItemFlags)
        self._table.setItem(number, 0, use)
        position = "?" if row.position_mm is None else f"{row.position_mm:+.1f}"
        remark = text_item(row.warning, row.warning, is_warning=True)
        texts = [row.name, "", str(row.n_phases), f"{row.rr_ms:.0f}", position]
        for column, text in enumerate(texts, start=1):
            self._table.setItem(number, column, text_item(text, f"series {row.series}"))
        self._table.setItem(number, len(STUDY_COLUMNS) - 1, remark)
        self._table.setCellWidget(number, 2, self._view_combo(row))

    def _view_combo(self, row: SliceRow) -> Any:
        combo = qt.QComboBox()
        for view in VIEWS:
            combo.addItem(VIEW_LABELS[view])
        combo.setCurrentIndex(VIEWS.index(row.view))
        combo.setToolTip(f"View of series {row.series}; choosing another one reads the study again")
        combo.connect(
            "currentIndexChanged(int)", lambda index: self._on_view(row.series, VIEWS[index])
        )
        self._combos.append(combo)  # the table alone does not keep the Python side alive
        return combo

    def _item_changed(self, item: Any) -> None:
        if not self._is_filling and item.column() == 0:
            name = self._rows[item.row()].name
            self._on_included(name, item.checkState() == qt.Qt.Checked)

    def _double_clicked(self, row: int) -> None:
        self._on_shown(self._rows[row].name)


class MotionTableView:
    """The estimated motion of every slice; a double click shows the slice."""

    def __init__(self, table: Any, on_shown: Callable[[str], None]) -> None:
        self._table, self._on_shown = table, on_shown
        self._names: list[str] = []
        prepare(table, MOTION_COLUMNS)
        table.connect("cellDoubleClicked(int,int)", self._double_clicked)

    def fill(self, slices: Iterable[Any]) -> None:
        """Show the slices of a heart (`scene.SceneSlice`); none of them moved before a fit."""
        fitted = [s for s in slices if s.distance_mm is not None]
        self._names = [s.name for s in fitted]
        self._table.setRowCount(len(fitted))
        for number, item in enumerate(fitted):
            for column, text in enumerate(_motion_texts(item)):
                cell = text_item(text, is_warning=item.is_outlier)
                self._table.setItem(number, column, cell)
        self._table.resizeColumnsToContents()

    def _double_clicked(self, row: int) -> None:
        self._on_shown(self._names[row])


def _motion_texts(item: Any) -> list[str]:
    return [
        item.name,
        f"{item.distance_mm:.1f}",
        f"{item.rotation_deg:.1f}",
        f"{item.intensity_scale:.2f}",
        _optional(item.uncertainty_mm),
        _optional(item.uncertainty_deg),
        OUTLIER_TEXT if item.is_outlier else "",
    ]


def _optional(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def fill_figures(table: Any, figures: dict[str, float]) -> None:
    """LV and RV figures side by side; empty before a result."""
    prepare(table, ("", "LV", "RV", ""))
    names = [key for key in FIGURE_NAMES if key in figures]
    table.setRowCount(len(names))
    for number, key in enumerate(names):
        name, unit = FIGURE_NAMES[key]
        rv = figures.get(f"rv_{key}")
        texts = [name, f"{figures[key]:.1f}", "" if rv is None else f"{rv:.1f}", unit]
        for column, text in enumerate(texts):
            table.setItem(number, column, text_item(text))
    table.resizeColumnsToContents()
