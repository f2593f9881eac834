"""Guidance on the planes of the shared real studies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.data.nifti_labels import RV_IS_4_NUMBERS
from NISFCore.data.read import read_study
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.views import View
from Testing.Core.generators.labelled_heart import Drawing, write_nrrd

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.real_study,
    pytest.mark.skipif(
        not SHARED.is_dir(), reason="the shared studies are not beside the checkout"
    ),
]


def test_real_planes(tmp_path: Path) -> None:
    """Concentric shells about a point of the heart, drawn on three planes with axes turned over."""
    study = read_study(SHARED / "bivme-patient1")
    centre = np.mean([item.centre_ras for item in study.slices], axis=0)

    def shells(points: Any) -> Any:
        shell = np.linalg.norm(points - centre, axis=-1) // 15.0
        return np.asarray(shell % 4, dtype=np.uint8)

    chosen = [study.slices[1], study.slices[3], study.of_view(View.LA_4CH)[0]]
    files = []
    for item in chosen:
        labels = shells(pixel_centres_ras(item.ras_from_ijk, item.shape))
        drawing = Drawing(labels.T[:, :, None], item.ras_from_ijk)
        drawing = drawing.reoriented([2, 1, 0], (True, False, True))
        path = write_nrrd(tmp_path / f"{item.name} ä.nrrd", drawing)
        files.append(LabelFile(path, 9, keeps_background=True))
    guidance = read_guidance(study, files)
    guidance.check(study)
    assert guidance.warnings == ()
    by_name = {e.slice_name: e for e in guidance.entries}
    assert set(by_name) == {item.name for item in chosen}
    for item in chosen:
        expected = shells(pixel_centres_ras(item.ras_from_ijk, item.shape))
        assert len(np.unique(expected)) == 4
        entry = by_name[item.name]
        assert entry.known.all()
        np.testing.assert_array_equal(entry.probabilities.argmax(axis=-1), expected)
        assert entry.phase == 9


def test_masks_of_a_real_stack() -> None:
    """18 planes of masks on 12 of images, in another numbering, one phase: what the reader of whole
    studies makes of the same file."""
    folder = SHARED / "autofd" / "A"
    study = read_study(folder)
    file = LabelFile(folder / "seg_sa_ED.nii.gz", keeps_background=True)
    guidance = read_guidance(study, [file], RV_IS_4_NUMBERS)
    guidance.check(study)
    assert guidance.warnings == ()
    assert [e.slice_name for e in guidance.entries] == [item.name for item in study.slices]
    for entry, item in zip(guidance.entries, study.slices, strict=True):
        assert item.labels is not None and item.labels.annotated.all()
        assert entry.known.all()
        found = entry.probabilities.argmax(axis=-1)
        np.testing.assert_array_equal(found, item.labels.values[0])
