"""The section "Motion": fit, cancel, failures; what is shown of it, and when it goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from NISFCore.fitting.storage import load_result
from NISFLib.scene import Part, Strain
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from Testing.Extension.panel.conftest import Files, Quick
from Testing.Extension.scene.motions import WARNING, write_motion

WIDGETS = (
    "fitMotionButton",
    "strainCombo",
    "showWall",
    "showArrows",
    "strainPlotButton",
    "segmentPlotButton",
    "strainTable",
)


@pytest.fixture(scope="module")
def with_motion(files: Files) -> Files:
    """What the quick worker leaves, with a motion of that very result."""
    folder = files.made / "motion"
    if not folder.exists():
        write_motion(load_result(files.made / "result").field, folder)
    return files


@pytest.fixture
def user(with_motion: Files) -> Iterator[Quick]:
    quick = Quick(with_motion)
    yield quick
    quick.close()


def enabled(user: Quick) -> list[str]:
    return [name for name in WIDGETS if getattr(user.ui, name).enabled]


def fit_motion(user: Quick) -> None:
    user.ui.fitMotionButton.click()
    user.wait()


def test_from_a_fit_to_its_strain(user: Quick) -> None:
    ui, heart = user.ui, user.heart
    assert enabled(user) == [] and ui.fitMotionButton.toolTip == "Fit the study first."
    user.read_study()
    assert enabled(user) == []
    user.fit()
    assert enabled(user) == ["fitMotionButton"] and "Follow the LV" in ui.fitMotionButton.toolTip
    assert heart.motion is None and not ui.showWall.checked and ui.strainTable.rowCount == 0

    ui.fitMotionButton.click()
    assert user.is_busy and ui.cancelButton.enabled and enabled(user) == []
    user.wait()
    assert "motion of the LV wall" in user.status and "1 note" in user.status, user.status
    result = user.panel.controller.refitting.result
    assert user.commands[-1][:4] == ("motion", "fit", str(result), "--overwrite")
    assert (result / "motion" / "motion.json").is_file()
    assert enabled(user) == list(WIDGETS)
    assert heart.visible(Part.WALL) and ui.showWall.checked and not ui.showSurfaces.checked
    assert WARNING in ui.motionNotesLabel.text

    # the table, the picture
    assert ui.strainTable.rowCount == 18
    texts = [ui.strainTable.item(0, column).text() for column in range(4)]
    assert heart.motion is not None
    gcs = heart.motion.peaks["whole wall"][Strain.CIRCUMFERENTIAL]
    assert texts[:2] == ["whole wall", f"{gcs:.1f}"]
    assert ui.bullseyeLabel.pixmap.width() > 300

    # the slider moves the wall
    shapes = []
    for phase in (1, 3):
        ui.phaseSlider.setValue(float(phase))
        wall = now_of(heart.nodes, Role.WALL).GetPolyData()
        shapes.append(wall.GetBounds())
    assert shapes[0] != shapes[1]


def test_colour_and_arrows_follow_the_widgets(user: Quick) -> None:
    ui, heart = user.ui, user.heart
    user.fit_study()
    fit_motion(user)
    assert ui.strainCombo.count == 3
    ui.strainCombo.setCurrentIndex(ui.strainCombo.findText("radial strain"))
    assert heart.motion.direction is Strain.RADIAL
    ui.showArrows.click()
    assert heart.visible(Part.ARROWS)
    ui.showWall.click()
    assert not heart.visible(Part.WALL) and heart.visible(Part.ARROWS)
    user.panel.show_scene()
    assert ui.strainCombo.currentText == "radial strain"
    assert ui.showArrows.checked and not ui.showWall.checked


def test_a_tagged_series_is_passed_on(user: Quick, tmp_path: Path) -> None:
    ui, tagged = user.ui, tmp_path / "tagged série ü"
    user.fit_study()
    user.set(taggedPath=str(tagged))
    assert not ui.fitMotionButton.enabled and str(tagged) in ui.fitMotionButton.toolTip
    tagged.mkdir()
    user.panel.render()
    fit_motion(user)
    assert user.commands[-1][4:6] == ("--tagged", str(tagged))
    assert user.heart.motion is not None
    ui.taggedPath.setCurrentPath("")
    fit_motion(user)
    assert "--tagged" not in user.commands[-1]


def test_a_cancelled_motion_leaves_the_heart(user: Quick) -> None:
    user.fit_study()
    user.mode = "motion=endless"
    user.ui.fitMotionButton.click()
    user.wait(lambda: "Fitting the motion" in user.status and "%" in user.status)
    user.ui.cancelButton.click()
    assert user.wait() < 2
    assert user.status == "Cancelled." and user.heart.has_result and user.heart.motion is None
    assert user.usable() and enabled(user) == ["fitMotionButton"]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("motion=error", "the heart was not found"),
        ("motion=die", ""),
        ("motion=nothing", "no motion.json"),
    ],
)
def test_a_failed_motion_says_why(user: Quick, mode: str, says: str) -> None:
    user.fit_study()
    user.mode = mode
    fit_motion(user)
    assert says in user.status and user.panel.controller.state.is_error, user.status
    assert user.usable() and user.heart.has_result and user.heart.motion is None
    user.mode = ""
    fit_motion(user)
    assert user.heart.motion is not None


def test_another_rendering_keeps_the_motion_and_another_fit_does_not(
    user: Quick, tmp_path: Path
) -> None:
    ui = user.ui
    user.fit_study()
    fit_motion(user)
    user.set(spacing=2.0, saveSegNrrd=False, saveSeqMrb=False)
    ui.exportButton.click()
    user.wait()
    assert user.status.startswith("Done") and user.heart.motion is not None, user.status
    user.fit()
    assert user.heart.motion is None and ui.strainTable.rowCount == 0
    assert not ui.bullseyeLabel.isVisible() and not ui.showWall.checked


def test_a_motion_that_cannot_be_read_does_not_hide_the_heart(user: Quick) -> None:
    user.fit_study()
    fit_motion(user)
    (user.panel.controller.refitting.result / "motion" / "strain.csv").unlink()
    user.set(spacing=2.0, saveSegNrrd=False, saveSeqMrb=False)
    user.ui.exportButton.click()
    user.wait()
    assert user.heart.has_result and user.heart.motion is None
    assert "The motion is not shown: strain.csv is missing" in user.status


def test_a_closed_scene_shows_no_motion(user: Quick) -> None:
    user.fit_study()
    fit_motion(user)
    user.slicer.mrmlScene.Clear(0)
    assert enabled(user) == [] and user.ui.strainTable.rowCount == 0
    assert user.ui.strainCombo.count == 0 and user.ui.motionNotesLabel.text == ""
