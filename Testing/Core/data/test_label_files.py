"""Names, formats, segments, phases and errors of label files; our own exports placed back."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import Guidance, SliceGuidance, read_guidance
from NISFCore.data.label_files import LabelFile, parse_label_file
from NISFCore.data.label_segments import label_of_segment
from NISFCore.data.study import CineStudy
from NISFCore.errors import ConfigError, NISFError, StudyError
from NISFCore.export.nifti_files import nifti_stream
from NISFCore.export.nrrd_files import (
    LABEL_VOLUME,
    label_fields,
    nrrd_sequence_stream,
    write_segmentation_nrrd,
)
from NISFCore.geometry.grids import box_grid
from NISFCore.geometry.rigid import rigid_about
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label
from NISFCore.views import View
from Testing.Core.generators.labelled_heart import (
    HEART,
    OUR_SEGMENTS,
    Drawing,
    drawn_on,
    far_from_borders,
    heart_study,
    labels_at,
    segment_fields,
    truth,
    write_nifti,
    write_nrrd,
)

STUDY = heart_study()
SA = STUDY.of_view(View.SA)
LA = STUDY.of_view(View.LA_4CH)[0]


def entries_of(
    path: Path, phase: int | None = 0, keeps_background: bool = True, study: CineStudy = STUDY
) -> dict[tuple[str, int], SliceGuidance]:
    guidance = read_guidance(study, [LabelFile(path, phase, keeps_background)])
    return {(e.slice_name, e.phase): e for e in guidance.entries}


def hard(entry: SliceGuidance) -> Any:
    """Label per pixel, -1 where unknown."""
    return np.where(entry.known, entry.probabilities.argmax(axis=-1), -1)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("text", "name", "phase", "slice_name"),
    [
        ("ed.nii.gz", "ed.nii.gz", None, None),
        ("ed.nii.gz@0", "ed.nii.gz", 0, None),
        ("a b/Hérz@home/ed.seg.nrrd@12", "a b/Hérz@home/ed.seg.nrrd", 12, None),
        ("me@work.nii", "me@work.nii", None, None),
        ("me@work/ed.nii", "me@work/ed.nii", None, None),
        ("C:\\x\\ed.nii@3", "C:\\x\\ed.nii", 3, None),
        ("ed.nii@SA_03:7", "ed.nii", 7, "SA_03"),
        ("ed.nii@a:b:7", "ed.nii", 7, "a:b"),
        ("ed.nii@SA_03:", "ed.nii", None, "SA_03"),
    ],
)
def test_command_line(text: str, name: str, phase: int | None, slice_name: str | None) -> None:
    assert parse_label_file(text) == LabelFile(Path(name), phase, False, slice_name)
    assert parse_label_file(text, keeps_background=True).keeps_background


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ed.nii@ED", "which phase is ED is known after a fit only"),
        ("ed.nii@SA_03:es", "which phase is ES"),
        ("ed.nii@", "zero-based number of a phase, or SLICE:PHASE"),
        ("ed.nii@-1", "got '-1' after the @ of ed.nii"),
        ("ed.nii@x:1.5", "got 'x:1.5'"),
        ("ed.nii@²", "got '²'"),
    ],
)
def test_command_line_that_is_not_understood(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_label_file(text)


def test_negative_phases_are_refused() -> None:
    with pytest.raises(ConfigError, match="got phase -1"):
        LabelFile(Path("a.nii"), -1)


@pytest.mark.parametrize(
    ("name", "phase", "slice_name"),
    [
        ("patient001_frame01_gt.nii.gz", 0, "patient001"),
        ("SA_03_phase07_seg.seg.nrrd", 7, "SA_03"),
        ("SA_03_seg_frame12.nii", 11, "SA_03"),
        ("SA_03_seg.nii", None, "SA_03"),
        ("heart_003.seg.nrrd", None, "heart_003"),
    ],
)
def test_what_a_name_says(name: str, phase: int | None, slice_name: str) -> None:
    file = LabelFile(Path(name))
    assert (file.phase_in_name, file.named_slice) == (phase, slice_name)


# ---------------------------------------------------------------- segments


@pytest.mark.parametrize("label", FOREGROUND)
def test_our_own_segments_are_known_by_name_id_and_terminology(label: Label) -> None:
    info = LABEL_INFO[label]
    tags = f"TerminologyEntry:{info.terminology_entry}|"
    assert label_of_segment(info.name) is label
    assert label_of_segment("Segment_1", "", info.key) is label
    assert label_of_segment("Segment_1", tags) is label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("LV", Label.LV_BLOOD_POOL),
        ("lv_cavity", Label.LV_BLOOD_POOL),
        ("LV endo", Label.LV_BLOOD_POOL),
        ("Left  Ventricle", Label.LV_BLOOD_POOL),
        ("heart_ventricle_left", Label.LV_BLOOD_POOL),
        ("MYO", Label.LV_MYOCARDIUM),
        ("heart_myocardium", Label.LV_MYOCARDIUM),
        ("Left ventricular myocardium", Label.LV_MYOCARDIUM),
        ("RV-blood-pool", Label.RV_BLOOD_POOL),
        ("Right ventricle", Label.RV_BLOOD_POOL),
        ("Background", Label.BACKGROUND),
        ("other", Label.BACKGROUND),
        ("left atrium", None),
        ("LV scar", None),
        ("Höhle", None),
    ],
)
def test_names_in_use(name: str, label: Label | None) -> None:
    assert label_of_segment(name) is label


def test_a_part_of_the_ventricle_is_not_the_ventricle() -> None:
    tags = f"TerminologyEntry:{LABEL_INFO[Label.LV_BLOOD_POOL].terminology_entry}|"
    assert label_of_segment("LV scar", tags) is None


def layered(*layers: Any) -> Drawing:
    """Layers `[i, j, k]` of a segmentation of the LA slice."""
    return Drawing(np.stack(layers, axis=-1).astype(np.uint8), LA.ras_from_ijk)


def test_layers_of_a_segmentation(tmp_path: Path) -> None:
    """Any value and layer; a segment that is no label is left out, where no label overlaps it."""
    labels = drawn_on([LA]).data
    other = np.zeros_like(labels)
    other[:, :30] = 1  # an atrium, say, that overlaps the ventricles
    first = np.select([labels == 1, labels == 3], [7, 2])
    fields = segment_fields(
        ("LV", 7, 0), ("Vorhoefe", 1, 1), ("RV", 2, 0), ("myo", 9, 2), ("background", 4, 2)
    )
    painted = np.zeros_like(labels)
    painted[:, 35:] = labels[:, 35:] == 0
    drawing = layered(first, other, np.select([labels == 2, painted == 1], [9, 4]))
    path = write_nrrd(tmp_path / "l.seg.nrrd", drawing, fields, list_first=True)
    _in_utf8(path, "Vorhoefe", "Vorhöfe")
    guidance = read_guidance(STUDY, [LabelFile(path, 0, keeps_background=True)])
    expected = np.where((truth(LA) == 0) & (other[:, :, 0].T == 1), -1, truth(LA).astype(int))
    np.testing.assert_array_equal(hard(guidance.entries[0]), expected)
    assert guidance.warnings == (
        "l.seg.nrrd: segment(s) 'Vorhöfe' mean no label here and are left out",
    )
    partial = entries_of(path, keeps_background=False)["LA_4CH", 0]
    only_painted = np.where((expected == 0) & (painted[:, :, 0].T == 0), -1, expected)
    np.testing.assert_array_equal(hard(partial), only_painted)


def _in_utf8(path: Path, ascii_name: str, name: str) -> None:
    """pynrrd writes ASCII only; 3D Slicer writes UTF-8."""
    content = path.read_bytes()
    assert content.count(ascii_name.encode()) == 1
    path.write_bytes(content.replace(ascii_name.encode(), name.encode()))


def test_old_segmentations_have_a_layer_for_every_segment(tmp_path: Path) -> None:
    labels = drawn_on([LA]).data
    fields = {f"Segment{k}_Name": name for k, name in enumerate(("LV", "Myocardium", "RV"))}
    drawing = layered(labels == 1, labels == 2, labels == 3)
    path = write_nrrd(tmp_path / "old.seg.nrrd", drawing, fields, list_first=True)
    np.testing.assert_array_equal(hard(entries_of(path)["LA_4CH", 0]), truth(LA))


def test_overlapping_segments_are_refused(tmp_path: Path) -> None:
    labels = drawn_on([LA]).data
    epicardium = (labels == 1) | (labels == 2)
    fields = segment_fields(("LV", 1, 0), ("myo", 1, 1))
    path = write_nrrd(
        tmp_path / "o.seg.nrrd", layered(labels == 1, epicardium), fields, list_first=True
    )
    n = int((labels == 1).sum())
    with pytest.raises(StudyError, match=f"'LV' and 'myo' overlap in {n} voxels"):
        entries_of(path)


def test_a_segmentation_with_frames(tmp_path: Path) -> None:
    drawing = drawn_on([LA], cycle_fractions=LA.cycle_fractions.tolist())
    path = write_nrrd(tmp_path / "s.seq.seg.nrrd", drawing, OUR_SEGMENTS)
    for (name, phase), entry in entries_of(path, None).items():
        assert name == "LA_4CH"
        np.testing.assert_array_equal(hard(entry), truth(LA, LA.cycle_fractions[phase]))


# ---------------------------------------------------------------- phases


def test_as_many_frames_as_phases(tmp_path: Path) -> None:
    t = LA.cycle_fractions.tolist()
    path = write_nifti(tmp_path / "cine.nii.gz", drawn_on([LA], cycle_fractions=t))
    entries = entries_of(path, None)
    assert list(entries) == [("LA_4CH", phase) for phase in range(4)]
    for phase in range(4):
        np.testing.assert_array_equal(hard(entries["LA_4CH", phase]), truth(LA, t[phase]))
    assert (truth(LA, t[0]) != truth(LA, t[2])).any()


@pytest.mark.parametrize("keeps_background", [False, True])
def test_empty_frames_are_not_annotated(tmp_path: Path, keeps_background: bool) -> None:
    drawing = drawn_on(SA, cycle_fractions=SA[0].cycle_fractions.tolist())
    drawing.data[..., [1, 3]] = 0
    path = write_nifti(tmp_path / "ed_es.nii.gz", drawing)
    guidance = read_guidance(STUDY, [LabelFile(path, None, keeps_background)])
    assert {e.phase for e in guidance.entries} == {0, 2}
    note = "ed_es.nii.gz: 2 of 4 frames are empty and taken as not annotated"
    assert guidance.warnings == ((note,) if keeps_background else ())


def test_other_counts_are_matched_by_time(tmp_path: Path) -> None:
    """Six frames on four phases: 0, 1/6, 2/6, ... are nearest to 0, 1/4 (twice), 1/2, 3/4."""
    fractions = [k / 6 for k in range(6)]
    path = write_nifti(tmp_path / "six.nii", drawn_on([LA], cycle_fractions=fractions))
    guidance = read_guidance(STUDY, [LabelFile(path, None, True)])
    assert [e.phase for e in guidance.entries] == [0, 1, 2, 3]
    np.testing.assert_array_equal(hard(guidance.entries[2]), truth(LA, 0.5))
    assert any((hard(guidance.entries[1]) == truth(LA, k / 6)).all() for k in (1, 2))
    assert "6 frames are matched to the 4 phases of LA_4CH by time" in guidance.warnings[0]


def test_few_frames_are_not_spread_over_the_cycle(tmp_path: Path) -> None:
    study = heart_study(n_phases=4, n_phases_la=12)
    path = write_nifti(tmp_path / "four.nii", drawn_on([LA], cycle_fractions=[0, 0.25, 0.5, 0.75]))
    assert list(entries_of(path, None, study=study)) == [("LA_4CH", k) for k in (0, 3, 6, 9)]


def test_times_of_a_sequence_count(tmp_path: Path) -> None:
    """Frames stored in the order of the cycle, of a slice whose phases begin elsewhere."""
    late = replace(LA, trigger_times_ms=LA.trigger_times_ms + 500.0)  # .56, .81, .06, .31
    study = CineStudy((*SA, late))
    order = np.argsort(late.cycle_fractions)
    t = late.cycle_fractions[order]
    drawing = drawn_on([late], cycle_fractions=t.tolist())
    path = tmp_path / "la.seq.nrrd"
    shape, A = (1, *late.shape), late.ras_from_ijk
    with nrrd_sequence_stream(path, shape, A, t, np.uint8, LABEL_VOLUME, label_fields()) as stream:
        for frame in np.moveaxis(drawing.data, -1, 0):
            stream.write(frame.T)
    entries = entries_of(path, None, study=study)
    assert list(entries) == [("LA_4CH", k) for k in range(4)]
    for phase, time in enumerate(late.cycle_fractions):
        np.testing.assert_array_equal(hard(entries["LA_4CH", phase]), truth(late, float(time)))


@pytest.mark.parametrize(("name", "phase"), [("a_frame03.nii", 2), ("a_phase03.nii", 3)])
def test_the_phase_in_a_name(tmp_path: Path, name: str, phase: int) -> None:
    path = write_nifti(tmp_path / name, drawn_on([LA]))
    assert list(entries_of(path, None)) == [("LA_4CH", phase)]
    assert list(entries_of(path, 1)) == [("LA_4CH", 1)]


def test_a_study_with_one_phase_needs_no_phase(tmp_path: Path) -> None:
    study = heart_study(n_phases=1, n_phases_la=1)
    path = write_nifti(tmp_path / "seg.nii", drawn_on(SA))
    assert list(entries_of(path, None, study=study)) == [(item.name, 0) for item in SA]


def test_phases_of_the_study_and_of_a_slice(tmp_path: Path) -> None:
    """The SA slices count (they are more); a slice's name makes that slice count."""
    study = heart_study(n_phases=4, n_phases_la=8)
    path = write_nifti(tmp_path / "la.nii", drawn_on([LA]))
    guidance = read_guidance(study, [LabelFile(path, 3)])
    assert guidance.entries[0].phase == 6
    assert guidance.warnings == ("la.nii: phase 3 of 4 is taken as phase 6 of the 8 of LA_4CH",)
    own = read_guidance(study, [LabelFile(path, 7, slice_name="LA_4CH")])
    assert (own.entries[0].phase, own.warnings) == (7, ())
    with pytest.raises(StudyError, match=r"got phase 7, allowed: 0 to 3.*@SLICE:PHASE"):
        read_guidance(study, [LabelFile(path, 7)])


# ---------------------------------------------------------------- without geometry


@pytest.mark.parametrize("kind", ["no code", "identity", "nrrd"])
@pytest.mark.parametrize("named", ["by stem", "by user"])
def test_image_space(tmp_path: Path, kind: str, named: str) -> None:
    stem = "la_4ch_seg" if named == "by stem" else "drawing"
    drawing = Drawing(drawn_on([LA]).data, np.eye(4))
    if kind == "nrrd":
        path = write_nrrd(tmp_path / f"{stem}.nrrd", drawing, space="right-anterior-superior")
    else:
        path = write_nifti(tmp_path / f"{stem}.nii", drawing, code=int(kind == "identity"))
    file = LabelFile(path, 1, True, "LA_4CH" if named == "by user" else None)
    guidance = read_guidance(STUDY, [file])
    assert (guidance.entries[0].slice_name, guidance.entries[0].phase) == ("LA_4CH", 1)
    np.testing.assert_array_equal(hard(guidance.entries[0]), truth(LA))
    assert "it does not say where it lies; taken as the pixels of LA_4CH" in guidance.warnings[0]


def test_geometry_counts_more_than_a_name(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "SA_00_seg.nii", drawn_on([LA]))
    assert list(entries_of(path)) == [("LA_4CH", 0)]


def test_a_slice_that_is_given_is_the_only_one(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "stack.nii", drawn_on(SA))
    guidance = read_guidance(STUDY, [parse_label_file(f"{path}@SA_02:1")])
    assert [(e.slice_name, e.phase) for e in guidance.entries] == [("SA_02", 1)]


# ---------------------------------------------------------------- our own exports


def test_exported_volumes_come_back(tmp_path: Path) -> None:
    """Our 4D NIfTI, sequence and segmentation of a whole heart, on every slice and phase."""
    box, t = HEART.box, np.arange(4) / 4
    grid = box_grid(box.ras_from_box, box.low_mm, box.high_mm, 2.5)
    frames = [labels_at(grid.points_ras(), float(x)) for x in t]
    nifti, sequence = tmp_path / "lä bels.nii.gz", tmp_path / "labels.seq.nrrd"
    with nifti_stream(nifti, grid.shape, grid.ras_from_ijk, 4, 0.2, np.uint8) as stream:
        for frame in frames:
            stream.write(frame)
    geometry = (grid.shape, grid.ras_from_ijk)
    with nrrd_sequence_stream(sequence, *geometry, t, np.uint8, LABEL_VOLUME) as stream:
        for frame in frames:
            stream.write(frame)
    segmentation = tmp_path / "heart_002.seg.nrrd"
    write_segmentation_nrrd(segmentation, frames[2], grid.ras_from_ijk)
    keys = {(item.name, phase) for item in STUDY.slices for phase in range(4)}
    read = [entries_of(nifti, None), entries_of(sequence, None), entries_of(segmentation, 2)]
    assert [set(entries) for entries in read] == [keys, keys, {k for k in keys if k[1] == 2}]
    for item in STUDY.slices:
        time = float(item.cycle_fractions[2])
        inner, expected = far_from_borders(item, 2.5 * np.sqrt(3) / 2, time), truth(item, time)
        for entries in read:
            found = hard(entries[item.name, 2])
            sure = inner & (found >= 0)
            assert sure.mean() > 0.4
            np.testing.assert_array_equal(found[sure], expected[sure])


# ---------------------------------------------------------------- errors


def _written(edit: Callable[[Drawing], Drawing], name: str = "x.nii") -> Callable[[Path], Path]:
    return lambda folder: write_nifti(folder / name, edit(drawn_on([LA])))


def _numbered(value: float) -> Callable[[Drawing], Drawing]:
    return lambda d: replace(d, data=np.where(d.data == 1, np.float32(value), d.data))


def _soft(scale: float) -> Callable[[Drawing], Drawing]:
    return lambda d: replace(d, data=np.eye(4, dtype=np.float32)[d.data] * scale * 0.5 + 0.125)


def _moved(by_mm: list[float]) -> Callable[[Drawing], Drawing]:
    def moved(d: Drawing) -> Drawing:
        A = d.ras_from_ijk.copy()
        A[:3, 3] += A[:3, :3] @ (by_mm / np.linalg.norm(A[:3, :3], axis=0))
        return replace(d, ras_from_ijk=A)

    return moved


def _turned(d: Drawing) -> Drawing:
    axis = LA.ras_from_ijk[:3, 1] / LA.spacing_mm[1]
    turn = rigid_about(LA.centre_ras, axis * np.deg2rad(20), [0, 0, 0])
    return replace(d, ras_from_ijk=turn @ d.ras_from_ijk)


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _segmented(*segments: tuple[str, int, int]) -> Callable[[Path], Path]:
    return lambda folder: write_nrrd(
        folder / "x.seg.nrrd", drawn_on([LA]), segment_fields(*segments)
    )


def _in_other_space(folder: Path) -> Path:
    return write_nrrd(folder / "x.nrrd", drawn_on([LA]), space="scanner-xyz")


ERRORS: list[tuple[Callable[[Path], Path], str]] = [
    (lambda folder: folder / "nobody.nii", "nobody.nii: no such file"),
    (_bytes("x.png", b""), "x.png: unknown kind of label file, allowed: .nii, .nii.gz, .seq"),
    (_bytes("x.nii.gz", b"nothing"), "x.nii.gz: not a readable NIfTI file"),
    (_bytes("x.nrrd", b"nothing"), "x.nrrd: not a readable NRRD file"),
    (_bytes("y.nrrd", b"NRRD0004\ndimension: 3\n\n"), "y.nrrd: not a readable NRRD file"),
    (_written(_numbered(7)), "got label value(s) 7, allowed: 0, 1, 2, 3, 255"),
    (_written(_numbered(-1)), "got label value(s) -1"),
    (_written(_numbered(0.5)), "got values that are not whole"),
    (_written(_numbered(float("nan"))), "got values that are not whole"),
    (_written(_soft(1.1)), "got probabilities that sum to 1.05, allowed: 1 over the last axis"),
    (_written(_soft(-1)), "probabilities must be finite and not negative"),
    (_written(lambda d: replace(d, data=0 * d.data)), "nothing is painted in it"),
    (_written(_moved([0, 0, 6.0])), "nearest is LA_4CH, 6.0 mm off (allowed: less than half"),
    (_written(_moved([900.0, 0, 0])), "they lie in the plane of LA_4CH, but beside its image"),
    (_written(_turned), "nearest is LA_4CH, tilted by 20 degrees"),
    (_written(_moved([105.0, 0, 0])), "only background of it falls on the study's slices"),
    (_written(lambda d: replace(d, ras_from_ijk=np.eye(4))), "does not say where in the patient"),
    (
        _written(lambda d: Drawing(d.data[1:], np.eye(4)), "LA_4CH_seg.nii"),
        "(59, 44, 1) voxels along (i, j, k), the frames of LA_4CH have (60, 44, 1)",
    ),
    (_segmented(("atria", 1, 0), ("scar", 2, 0)), "'atria', 'scar', none of which is a known"),
    (_segmented(("LV", 1, 0)), "got voxel value(s) [2, 3] that belong to no segment"),
    (_segmented(("LV", 1, 3)), "its header names layer(s) [3], it has 1"),
    (_in_other_space, "got space 'scanner-xyz', allowed: left-posterior-superior"),
]


@pytest.mark.parametrize(("write", "said"), ERRORS, ids=[said[:30] for _, said in ERRORS])
def test_what_cannot_be_used_is_said(
    tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(StudyError, match=re.escape(said)) as caught:
        entries_of(path)
    assert str(tmp_path) not in str(caught.value)
    assert path.name in str(caught.value)


def test_strokes_beside_every_slice(tmp_path: Path) -> None:
    path = _written(_moved([105.0, 0, 0]))(tmp_path)
    with pytest.raises(StudyError, match="nothing that is painted in it falls on a pixel"):
        entries_of(path, keeps_background=False)


def _error(files: list[LabelFile], numbers: dict[int, int] | None = None) -> str:
    with pytest.raises(NISFError) as caught:
        read_guidance(STUDY, files, numbers)
    return str(caught.value)


def test_errors_of_phases_slices_and_numbers(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", drawn_on([LA]))
    four = write_nifti(tmp_path / "y.nii", drawn_on([LA], cycle_fractions=[0, 0.3, 0.5, 0.7]))
    assert _error([]) == "labels: no file was given"
    assert "Give x.nii@PHASE, counted from 0 (of 4)" in _error([LabelFile(path)])
    assert "got phase 4, allowed: 0 to 3" in _error([LabelFile(path, 4)])
    assert "got phase 1 for a file with 4 frames" in _error([LabelFile(four, 1)])
    unknown = _error([LabelFile(path, 0, slice_name="SA_9")])
    assert "got slice 'SA_9', this study has SA_00, SA_01" in unknown
    assert "label_values names label(s) [9]" in _error([LabelFile(path, 0)], {1: 9})
    assert "got label value(s) 2, 3, allowed: 0, 1, 255" in _error([LabelFile(path, 0)], {1: 1})


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    drawing = drawn_on([LA])
    other = drawing.data.copy()
    other[drawing.data == 3] = 2
    a = LabelFile(write_nifti(tmp_path / "a.nii", drawing), 0)
    b = LabelFile(write_nifti(tmp_path / "b.nii", replace(drawing, data=other)), 0)
    n = int((drawing.data == 3).sum())
    said = f"a.nii and b.nii contradict each other in {n} pixel(s) of LA_4CH at phase 0"
    assert said in _error([a, b])
    assert len(read_guidance(STUDY, [a, replace(b, phase=1)]).entries) == 2


# ---------------------------------------------------------------- the types


def entry(**changes: Any) -> SliceGuidance:
    p = np.zeros((*LA.shape, 4), dtype=np.float32)
    p[3, 4, 2] = 1
    values: dict[str, Any] = {"slice_name": "LA_4CH", "phase": 1, "probabilities": p}
    values["known"] = p.any(axis=-1)
    return SliceGuidance(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phase": -1}, "phase -1"),
        ({"known": np.ones(LA.shape, dtype=bool)}, "do not sum to 1 where known"),
        ({"known": np.zeros(LA.shape, dtype=bool)}, "do not sum to 1 where known and 0 elsewhere"),
        ({"known": np.zeros((3, 3), dtype=bool)}, "probabilities are float32 of shape"),
        ({"known": np.zeros(LA.shape, dtype=np.uint8)}, "known is uint8"),
        ({"probabilities": np.zeros((*LA.shape, 4))}, "probabilities are float64"),
        ({"probabilities": np.full((*LA.shape, 4), np.nan, np.float32)}, "not finite"),
    ],
)
def test_an_entry_is_valid_once_constructed(changes: dict[str, Any], said: str) -> None:
    assert entry().known.sum() == 1
    with pytest.raises(StudyError, match=re.escape(said)):
        entry(**changes)


def test_guidance_is_checked_against_its_study() -> None:
    Guidance((entry(), entry(phase=3))).check(STUDY)
    with pytest.raises(StudyError, match=r"more than one entry for .*'LA_4CH', 1"):
        Guidance((entry(), entry()))
    with pytest.raises(StudyError, match="got slice 'SA_7', this study has SA_00"):
        Guidance((entry(slice_name="SA_7"),)).check(STUDY)
    with pytest.raises(StudyError, match="got phase 4 of LA_4CH, allowed: 0 to 3"):
        Guidance((entry(phase=4),)).check(STUDY)
    cropped = replace(LA.cropped((0, 0), (20, 20)))
    with pytest.raises(StudyError, match=r"got \(44, 60\) pixels for LA_4CH, which has \(20, 20\)"):
        Guidance((entry(),)).check(CineStudy((*SA, cropped)))
