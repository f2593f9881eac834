"""A scene is saved, closed, opened again: browser, alignment, plots and all are as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from NISFLib.scene import HeartScene, Part, SceneError, save_bundle
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders
from Testing.Extension.scene.reading import column, labels_of, ras_from_ijk_of


def state(heart: HeartScene) -> dict[str, Any]:
    """Everything that a user would miss."""
    return {
        "phase": heart.phase,
        "fractions": heart.cycle_fractions,
        "ends": (heart.ed_phase, heart.es_phase),
        "alignment": heart.alignment,
        "slices": heart.slices,
        "figures": heart.figures,
        "pairs": heart.profile_pairs,
        "notes": heart.notes,
        "subject": heart.subject,
        "shown": [heart.visible(part) for part in Part],
        "motion": column(heart.motion_table, "shift (mm)"),
        "n_series": heart.curve_chart.GetNumberOfPlotSeriesNodes(),
        "labels": labels_of(heart.segmentation).sum(),
    }


def reopened(heart: HeartScene, path: Path) -> HeartScene:
    """Save, close and open the scene."""
    save_bundle(heart, path)
    slicer.mrmlScene.Clear(0)
    assert not heart.has_study
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    again = HeartScene()
    again.restore()
    return again


def test_a_bundle_opens_as_it_was(heart: HeartScene, folders: Folders, tmp_path: Path) -> None:
    heart.alignment = 0.4
    heart.phase = 2
    heart.set_visible(Part.SURFACES, False)
    before = state(heart)
    places = {
        c.name: ras_from_ijk_of(now_of(heart.nodes, Role.SLICE_IMAGES, c.name))
        for c in folders.full.slices
    }
    again = reopened(heart, tmp_path / "Hérz bundle.mrb")
    assert state(again) == before
    for name, expected in places.items():
        found = ras_from_ijk_of(now_of(again.nodes, Role.SLICE_IMAGES, name))
        assert np.abs(found - expected).max() < 1e-4
    volumes = []
    for phase in range(6):  # the browser drives everything as before
        again.phase = phase
        cursor = now_of(again.nodes, Role.CYCLE)
        assert column(cursor, "cycle (%)")[0] == pytest.approx(100 * phase / 6, abs=1e-3)
        assert again.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
        volumes.append(int((labels_of(again.segmentation) == 1).sum()))
    assert volumes[3] == min(volumes) < max(volumes) == volumes[0]
    for plane in again.nodes.all(Role.SLICE_PLANE):
        assert plane.GetDisplayNode().GetTextureImageDataConnection() is not None
    again.alignment = 1.0
    motion = dict(
        zip([c.name for c in folders.full.slices], folders.fitted.slice_motions, strict=True)
    )
    for cine in folders.full.slices:
        found = ras_from_ijk_of(now_of(again.nodes, Role.SLICE_IMAGES, cine.name))
        assert np.abs(found - motion[cine.name] @ cine.ras_from_ijk).max() < 1e-4
    again.show_profile(1)
    again.remove()
    assert not again.has_study


def test_a_bundle_of_a_study_without_a_fit(folders: Folders, tmp_path: Path) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    heart.phase = 3
    again = reopened(heart, tmp_path / "study.mrb")
    assert (again.has_study, again.has_result, again.phase) == (True, False, 3)
    assert len(again.slices) == 6


def test_a_bundle_needs_its_ending(heart: HeartScene, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"ends in \.mrb"):
        save_bundle(heart, tmp_path / "scene.zip")


def test_an_earlier_bundle_is_replaced_whole(folders: Folders, tmp_path: Path) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    path = tmp_path / "a.mrb"
    path.write_text("old")
    assert save_bundle(heart, path) == path
    assert path.read_bytes()[:2] == b"PK"
    assert list(tmp_path.iterdir()) == [path]
