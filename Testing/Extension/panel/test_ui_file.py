"""NISF.ui and the code that uses it, without opening it: what a real Slicer would stumble over."""

import ast
import re
import xml.etree.ElementTree as ElementTree

import pytest

from Testing.conftest import REPOSITORY
from Testing.Core.source_tree import SourceFile, source_files

UI = REPOSITORY / "NISFExtension" / "Resources" / "UI" / "NISF.ui"
SOURCES = source_files("NISFExtension")
SCENE_SIGNAL, SCENE_SLOT = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"
PATH_FILTERS = {"Dirs", "Files", "Drives", "NoSymLinks", "Readable", "Writable", "Executable"}

PATHS = {"inputPath", "priorPath", "configPath", "resultFolder", "taggedPath", "exportFolder"}
"""Widgets that the panel connects by hand."""

QT5_SIGNALS = {
    "clicked()",
    "clicked(bool)",
    "toggled(bool)",
    "timeout()",
    "currentIndexChanged(int)",
    "valueChanged(double)",
    "itemChanged(QTableWidgetItem*)",
    "itemChanged(QListWidgetItem*)",
    "cellDoubleClicked(int,int)",
    "editTextChanged(QString)",
    "startupCompleted()",
}
"""Signatures as Qt 5.15 and CTK (Slicer 5.12) declare them. The harness knows Qt 6's: a signal that
only one of the two has must not be used."""


def root_of(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


@pytest.fixture
def ui() -> ElementTree.Element:
    return root_of(UI.read_text(encoding="utf-8"))


def widgets(ui: ElementTree.Element) -> dict[str, str]:
    """Name → class of every widget."""
    found = [(w.get("name", ""), w.get("class", "")) for w in ui.iter("widget")]
    assert len({name for name, _ in found}) == len(found), "two widgets of one name"
    return dict(found)


def without_scene(ui: ElementTree.Element) -> list[str]:
    """qMRML widgets inside the top one that do not get its scene."""
    top = ui.find("widget")
    assert top is not None
    connected = {
        c.findtext("receiver")
        for c in ui.iter("connection")
        if c.findtext("sender") == top.get("name")
        and c.findtext("signal") == SCENE_SIGNAL
        and c.findtext("slot") == SCENE_SLOT
    }
    inner = {name for name, kind in widgets(ui).items() if kind.startswith("qMRML")}
    return sorted(inner - connected - {top.get("name", "")})


def test_every_scene_widget_gets_the_scene(ui: ElementTree.Element) -> None:
    assert widgets(ui)["NISF"] == "qMRMLWidget"
    assert without_scene(ui) == []


def test_a_forgotten_scene_connection_is_noticed() -> None:
    connection = (
        "<connections><connection><sender>top</sender><signal>{}</signal>"
        "<receiver>inner</receiver><slot>{}</slot></connection></connections>"
    )
    text = (
        '<ui><widget class="qMRMLWidget" name="top">'
        '<widget class="qMRMLNodeComboBox" name="inner"/></widget>{}</ui>'
    )
    assert without_scene(root_of(text.format(""))) == ["inner"]
    wrong = connection.format("mrmlSceneChanged()", SCENE_SLOT)
    assert without_scene(root_of(text.format(wrong))) == ["inner"]
    right = connection.format(SCENE_SIGNAL, SCENE_SLOT)
    assert without_scene(root_of(text.format(right))) == []


def test_custom_widgets_are_declared(ui: ElementTree.Element) -> None:
    declared = {w.findtext("class") for w in ui.iter("customwidget")}
    used = {kind for kind in widgets(ui).values() if not kind.startswith("Q")}
    assert used == declared


def test_path_filters_exist(ui: ElementTree.Element) -> None:
    for prop in ui.iter("property"):
        if prop.get("name") == "filters":
            names = [part.split("::")[-1] for part in (prop.findtext("set") or "").split("|")]
            assert set(names) <= PATH_FILTERS


def test_a_folder_can_be_browsed_for(ui: ElementTree.Element) -> None:
    """Where files are allowed, ctk's button opens a dialog of files, in which no folder can be
    chosen."""
    for prop in ui.iter("property"):
        if prop.get("name") == "filters" and "::Dirs" in (text := prop.findtext("set") or ""):
            assert "::Files" not in text


def parameter_names() -> set[str]:
    """The annotated names of NISFParameters."""
    source = next(s for s in SOURCES if s.path.name == "parameters.py")
    (cls,) = [n for n in source.tree.body if isinstance(n, ast.ClassDef)]
    annotated = [n.target for n in cls.body if isinstance(n, ast.AnnAssign)]
    return {t.id for t in annotated if isinstance(t, ast.Name)}


def test_parameters_have_widgets_and_widgets_parameters(ui: ElementTree.Element) -> None:
    bound = [
        prop.findtext("string") or ""
        for prop in ui.iter("property")
        if prop.get("name") == "SlicerParameterName"
    ]
    by_hand = PATHS
    assert len(set(bound)) == len(bound)
    assert set(bound) | by_hand | {"corrections"} == parameter_names()
    assert by_hand <= set(widgets(ui))


def panel_sources() -> list[SourceFile]:
    return [s for s in SOURCES if "panel" in s.path.parts]


def test_the_code_names_only_widgets_that_exist(ui: ElementTree.Element) -> None:
    named = {
        name
        for source in panel_sources()
        for name in re.findall(r"\bui\.([a-zA-Z]\w*)", source.text)
    }
    assert len(named) > 30
    assert named - set(widgets(ui)) == set()


def test_every_button_and_table_is_used(ui: ElementTree.Element) -> None:
    text = "\n".join(s.text for s in panel_sources())
    kinds = {"QPushButton", "QTableWidget", "QListWidget", "ctkSliderWidget", "ctkPathLineEdit"}
    names = [name for name, kind in widgets(ui).items() if kind in kinds]
    by_hand = PATHS
    assert [n for n in names if f"ui.{n}" not in text and n not in by_hand] == []


def signal_strings() -> set[str]:
    """The first argument of every `.connect("...", slot)`."""
    calls = [n for s in SOURCES for n in ast.walk(s.tree) if isinstance(n, ast.Call)]
    found = set()
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "connect":
            assert isinstance(call.args[0], ast.Constant), "signals are literals"
            found.add(str(call.args[0].value))
    return found


def test_signals_exist_in_qt5_too() -> None:
    assert signal_strings() <= QT5_SIGNALS
    assert signal_strings() >= QT5_SIGNALS, "one is not used any more"


def test_tool_tips_say_what_buttons_do(ui: ElementTree.Element) -> None:
    """Buttons whose text alone does not say it; those of actions get theirs from the state."""
    from_state = {"readButton", "fitButton", "exportButton"}
    plain = {"copyBatchButton"}
    for widget in ui.iter("widget"):
        if widget.get("class") == "QPushButton":
            names = {p.get("name") for p in widget.findall("property")}
            assert "toolTip" in names or widget.get("name") in from_state | plain
