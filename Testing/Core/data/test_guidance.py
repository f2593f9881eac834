"""Labels of an analytic heart, written in every format and orientation and read back, per pixel."""

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from NISFCore.data.guidance import Guidance, SliceGuidance, read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.data.nifti_labels import ACDC_NUMBERS
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about, rotation_from_rotvec
from NISFCore.geometry.spaces import apply_affine
from NISFCore.views import View
from Testing.Core.generators.labelled_heart import (
    OUR_SEGMENTS,
    Drawing,
    dense_drawing,
    drawn_on,
    far_from_borders,
    grid_points,
    heart_study,
    truth,
    write_nifti,
    write_nrrd,
)

STUDY = heart_study()
SA = STUDY.of_view(View.SA)
LA = STUDY.of_view(View.LA_4CH)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space and an umlaut in its name."""
    path = tmp_path / "Früh Stück"
    path.mkdir()
    return path


def complete(path: Path, phase: int | None = 0) -> LabelFile:
    return LabelFile(path, phase, keeps_background=True)


def by_key(guidance: Guidance) -> dict[tuple[str, int], SliceGuidance]:
    return {(e.slice_name, e.phase): e for e in guidance.entries}


def assert_is_truth(entry: SliceGuidance, item: CineSlice, cycle_fraction: float = 0.0) -> None:
    """Every pixel known and right."""
    expected = truth(item, cycle_fraction)
    assert len(np.unique(expected)) > 2
    assert entry.known.all()
    np.testing.assert_array_equal(entry.probabilities.argmax(axis=-1), expected)
    np.testing.assert_array_equal(entry.probabilities.max(axis=-1), 1.0)


def assert_is_truth_where_known(entry: SliceGuidance, item: CineSlice) -> None:
    np.testing.assert_array_equal(
        entry.probabilities.argmax(axis=-1)[entry.known], truth(item)[entry.known]
    )


# ---------------------------------------------------------------- formats and geometry


def test_one_slice_at_one_phase(folder: Path) -> None:
    path = write_nifti(folder / "myö 1.nii.gz", drawn_on([LA]))
    guidance = read_guidance(STUDY, [complete(path, 2)])
    guidance.check(STUDY)
    assert list(by_key(guidance)) == [("LA_4CH", 2)]
    assert guidance.sources == ("myö 1.nii.gz",)
    assert guidance.warnings == ()
    assert_is_truth(guidance.entries[0], LA)


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "ras.nrrd", "seg.nrrd"])
def test_a_stack_in_every_format(folder: Path, kind: str) -> None:
    path, drawing = folder / f"labels.{kind}", drawn_on(SA)
    if kind.startswith("nii"):
        write_nifti(path, drawing)
    elif kind == "ras.nrrd":
        write_nrrd(path, drawing, space="right-anterior-superior")
    else:
        write_nrrd(path, drawing, OUR_SEGMENTS if kind == "seg.nrrd" else None)
    entries = by_key(read_guidance(STUDY, [complete(path)]))
    assert list(entries) == [(item.name, 0) for item in SA]
    for item in SA:
        assert_is_truth(entries[item.name, 0], item)


@settings(max_examples=40, deadline=None)
@given(
    axes=st.permutations([0, 1, 2]),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    refine=st.sampled_from([1, 3]),
    kind=st.sampled_from(["nii", "nrrd"]),
    single=st.booleans(),
)
def test_axes_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    axes: list[int],
    flips: tuple[bool, bool, bool],
    refine: int,
    kind: str,
    single: bool,
) -> None:
    items = [LA] if single else SA[:2]
    drawing = drawn_on(items, refine).reoriented(axes, flips)
    write = write_nifti if kind == "nii" else write_nrrd
    path = write(tmp_path_factory.mktemp("axes") / f"labels.{kind}", drawing)
    entries = by_key(read_guidance(STUDY, [complete(path)]))
    assert list(entries) == [(item.name, 0) for item in items]
    for item in items:
        assert_is_truth(entries[item.name, 0], item)


def test_every_orientation_of_one_file_is_the_same(folder: Path) -> None:
    drawing = drawn_on(SA[1:3])
    reference = read_guidance(STUDY, [complete(write_nifti(folder / "a.nii", drawing))])
    for axes, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        path = write_nifti(folder / "a.nii", drawing.reoriented(axes, flips))
        turned = read_guidance(STUDY, [complete(path)])
        for a, b in zip(reference.entries, turned.entries, strict=True):
            np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_a_part_of_the_image(folder: Path) -> None:
    drawing = drawn_on(SA).cropped((7, 9, 1), (30, 20, 2))
    entries = by_key(read_guidance(STUDY, [complete(write_nifti(folder / "p.nii", drawing))]))
    assert list(entries) == [("SA_01", 0), ("SA_02", 0)]
    for item in SA[1:3]:
        known = np.zeros(item.shape, dtype=bool)
        known[9:29, 7:37] = True
        np.testing.assert_array_equal(entries[item.name, 0].known, known)
        assert_is_truth_where_known(entries[item.name, 0], item)


def test_turned_in_its_plane_and_finer(folder: Path) -> None:
    """A file turned by 25 degrees about the normal: nearest voxels, right but at the borders."""
    turn = rigid_about(LA.centre_ras, LA.normal_ras * np.deg2rad(25), [0, 0, 0])
    turned = replace(LA, ras_from_ijk=turn @ LA.ras_from_ijk)
    path = write_nifti(folder / "turned.nii", drawn_on([turned], refine=3))
    entry = read_guidance(STUDY, [complete(path)]).entries[0]
    assert entry.slice_name == "LA_4CH"
    sure = entry.known & far_from_borders(LA, 0.5 * np.hypot(1.9, 2.1) / 3)
    assert sure.mean() > 0.6
    np.testing.assert_array_equal(entry.probabilities.argmax(axis=-1)[sure], truth(LA)[sure])


@pytest.mark.parametrize("spacing_mm", [2.0, 2.9])
def test_a_dense_map_speaks_of_every_slice(folder: Path, spacing_mm: float) -> None:
    axes = np.eye(4)
    axes[:3, :3] = rotation_from_rotvec([0.3, 0.2, -0.5])
    path = write_nifti(folder / "dense.nii.gz", dense_drawing(spacing_mm, axes))
    entries = by_key(read_guidance(STUDY, [complete(path, 1)]))
    assert list(entries) == [(item.name, 1) for item in STUDY.slices]
    for item in STUDY.slices:
        entry = entries[item.name, 1]
        sure = entry.known & far_from_borders(item, spacing_mm * np.sqrt(3) / 2)
        assert sure.mean() > 0.4
        assert set(np.unique(truth(item)[sure])) == set(np.unique(truth(item)))
        np.testing.assert_array_equal(entry.probabilities.argmax(axis=-1)[sure], truth(item)[sure])


def test_what_lies_between_planes_is_not_spoken_of(folder: Path) -> None:
    """Every second slice is drawn; LA slices cross the planes, but nobody drew on them."""
    path = write_nifti(folder / "gaps.nii", drawn_on(SA[::2]))
    assert list(by_key(read_guidance(STUDY, [complete(path)]))) == [("SA_00", 0), ("SA_02", 0)]


@pytest.mark.parametrize(
    ("shift_mm", "tilt_deg", "is_placed"),
    [(3.9, 0, True), (4.1, 0, False), (-3.9, 0, True), (0, 2.9, True), (0, 3.1, False)],
)
def test_how_coplanar_a_plane_must_be(
    folder: Path, shift_mm: float, tilt_deg: float, is_placed: bool
) -> None:
    """Slices are 8 mm thick: half of that, and 3 degrees."""
    axis = LA.ras_from_ijk[:3, 0] / LA.spacing_mm[0]
    moved = rigid_about(LA.centre_ras, axis * np.deg2rad(tilt_deg), LA.normal_ras * shift_mm)
    drawing = drawn_on([LA])
    path = write_nifti(
        folder / "moved.nii", replace(drawing, ras_from_ijk=moved @ drawing.ras_from_ijk)
    )
    if is_placed:
        entry = read_guidance(STUDY, [complete(path)]).entries[0]
        # Projected along the normal: the pixels of the slice, less a sliver where it is tilted.
        assert entry.known.mean() > 0.99
        same = entry.probabilities.argmax(axis=-1)[entry.known] == truth(LA)[entry.known]
        assert same.mean() > (0.99 if tilt_deg else 0.9999)
    else:
        with pytest.raises(StudyError, match=r"nearest is LA_4CH, .* (mm off|degrees)"):
            read_guidance(STUDY, [complete(path)])


def test_a_closely_spaced_stack_reaches_half_its_spacing_only(folder: Path) -> None:
    """A stack that ends 3.6 mm from a slice, its planes 5 mm apart: nobody drew there."""
    drawing = drawn_on([SA[0]])
    A = drawing.ras_from_ijk.copy()
    normal = SA[0].normal_ras
    A[:3, 2] = 5.0 * normal
    A[:3, 3] += 3.6 * normal
    path = write_nifti(folder / "s.nii", Drawing(np.repeat(drawing.data, 3, axis=2), A))
    with pytest.raises(StudyError, match=r"nearest is SA_00, 3\.6 mm off"):
        read_guidance(STUDY, [complete(path)])


def test_sheared_axes(folder: Path) -> None:
    """A stack whose planes are shifted against each other, as scanners make and NIfTI allows."""
    drawing = drawn_on(SA[:2])
    A, data = drawing.ras_from_ijk.copy(), drawing.data.copy()
    A[:3, 2] += 2 * A[:3, 0]  # plane 1 begins two columns further on
    data[:-2, :, 1] = drawing.data[2:, :, 1]
    entries = by_key(
        read_guidance(STUDY, [complete(write_nifti(folder / "x.nii", Drawing(data, A)))])
    )
    assert_is_truth(entries["SA_00", 0], SA[0])
    second = entries["SA_01", 0]
    assert not second.known[:, :2].any()
    assert second.known[:, 2:].all()
    assert_is_truth_where_known(second, SA[1])


# ---------------------------------------------------------------- partial, soft, several files


def strokes(drawing: Drawing, seed: int = 0) -> Drawing:
    """One voxel in ten is painted, the others are 0."""
    rng = np.random.default_rng(seed)
    return replace(drawing, data=np.where(rng.random(drawing.data.shape) < 0.1, drawing.data, 0))


def test_partial_strokes_leave_the_rest_unknown(folder: Path) -> None:
    drawing = strokes(drawn_on([LA]))
    path = write_nifti(folder / "strokes.nii", drawing)
    entry = read_guidance(STUDY, [LabelFile(path, 0)]).entries[0]
    painted = drawing.data[:, :, 0].T > 0
    np.testing.assert_array_equal(entry.known, painted)
    assert_is_truth_where_known(entry, LA)
    np.testing.assert_array_equal(entry.probabilities[~painted], 0)


@pytest.mark.parametrize("keeps_background", [False, True])
def test_255_is_unknown_in_both(folder: Path, keeps_background: bool) -> None:
    drawing = drawn_on([LA])
    drawing.data[10:20] = 255
    path = write_nifti(folder / "u.nii", drawing)
    entry = read_guidance(STUDY, [LabelFile(path, 0, keeps_background)]).entries[0]
    expected = truth(LA) > 0 if not keeps_background else np.ones(LA.shape, dtype=bool)
    expected[:, 10:20] = False
    np.testing.assert_array_equal(entry.known, expected)


def test_acdc_numbers(folder: Path) -> None:
    drawing = drawn_on([LA])
    swapped = replace(drawing, data=np.array([0, 3, 2, 1], dtype=np.uint8)[drawing.data])
    path = write_nifti(folder / "acdc.nii", swapped)
    assert_is_truth(read_guidance(STUDY, [complete(path)], ACDC_NUMBERS).entries[0], LA)


def test_numbers_that_mean_unknown(folder: Path) -> None:
    """An atrium, say, that has a number of its own."""
    drawing = drawn_on([LA])
    drawing.data[drawing.data == 3] = 7
    path = write_nifti(folder / "a.nii", drawing)
    entry = read_guidance(STUDY, [complete(path)], {1: 1, 2: 2, 7: 255}).entries[0]
    np.testing.assert_array_equal(entry.known, truth(LA) != 3)


def soft_field(points: np.ndarray) -> np.ndarray:
    """Probabilities that are affine in space, so that linear interpolation is exact."""
    x = (points - LA.centre_ras) / 1000.0
    p = np.stack([0.4 + x[..., 0], 0.3 - x[..., 0] + x[..., 1], 0.2 - x[..., 1]], axis=-1)
    return np.concatenate([p, 1 - p.sum(axis=-1, keepdims=True)], axis=-1)


def test_soft_labels_are_interpolated_linearly(folder: Path) -> None:
    turn = rigid_about(LA.centre_ras, LA.normal_ras * np.deg2rad(35), [0, 0, 0])
    A = turn @ LA.ras_from_ijk
    A[:3, :2] *= 0.8
    A[:3, 3] += LA.centre_ras - apply_affine(A, [30, 25, 0])
    p = soft_field(grid_points(A, (61, 51, 1)))
    assert p.min() > 0
    path = write_nifti(folder / "soft.nii", Drawing(p.astype(np.float32), A))
    entry = read_guidance(STUDY, [LabelFile(path, 3)]).entries[0]
    expected = soft_field(pixel_centres_ras(LA.ras_from_ijk, LA.shape))
    inner = entry.known.copy()
    for axis in (0, 1):  # the outermost half voxel holds the value of its voxel's centre
        for step in (-1, 1):
            inner &= np.roll(entry.known, step, axis)
    assert inner.mean() > 0.3
    np.testing.assert_allclose(entry.probabilities[inner], expected[inner], atol=2e-6)
    assert (entry.slice_name, entry.phase) == ("LA_4CH", 3)


def test_soft_dense_labels_over_time(folder: Path) -> None:
    dense = dense_drawing(2.9, np.eye(4))
    p = soft_field(grid_points(dense.ras_from_ijk, dense.data.shape))[..., None, :]
    p = np.repeat(p, 4, axis=3)
    p[:, :, :, 2] = 0  # nothing is said of phase 2
    path = write_nifti(folder / "soft.nii", Drawing(p.astype(np.float32), dense.ras_from_ijk))
    entries = by_key(read_guidance(STUDY, [LabelFile(path)]))
    assert {phase for _, phase in entries} == {0, 1, 3}
    for item in STUDY.slices:
        entry = entries[item.name, 3]
        expected = soft_field(pixel_centres_ras(item.ras_from_ijk, item.shape))
        inside = entry.known & np.roll(entry.known, 2, 0) & np.roll(entry.known, -2, 0)
        inside &= np.roll(entry.known, 2, 1) & np.roll(entry.known, -2, 1)
        assert inside.mean() > 0.5
        np.testing.assert_allclose(entry.probabilities[inside], expected[inside], atol=2e-6)


def test_soft_labels_beside_unknown_voxels_keep_their_sum(folder: Path) -> None:
    drawing = drawn_on([LA])
    p = np.eye(4, dtype=np.float32)[drawing.data] * 0.9 + 0.025
    p[20:30] = 0
    A = drawing.ras_from_ijk.copy()
    A[:3, 3] += 0.3 * A[:3, 0]
    entry = read_guidance(
        STUDY, [LabelFile(write_nifti(folder / "s.nii", Drawing(p, A)), 0)]
    ).entries[0]
    sums = entry.probabilities.sum(axis=-1)
    np.testing.assert_allclose(sums[entry.known], 1, atol=1e-6)
    assert not entry.known[:, 21:30].any()  # less than half of their neighbours' weight is known
    assert entry.known[:, 31:].all()


def test_files_for_several_phases_and_slices_add_up(folder: Path) -> None:
    a = write_nifti(folder / "a.nii", drawn_on(SA))
    b = write_nifti(folder / "b.nii", strokes(drawn_on([LA])))
    c = write_nifti(folder / "c.nii", strokes(drawn_on([SA[1]]), seed=1))
    files = [LabelFile(b, 3), complete(a, 0), LabelFile(c, 0), LabelFile(c, 2)]
    guidance = read_guidance(STUDY, files)
    keys = [("SA_00", 0), ("SA_01", 0), ("SA_01", 2), ("SA_02", 0), ("SA_03", 0), ("LA_4CH", 3)]
    assert list(by_key(guidance)) == keys
    assert_is_truth(by_key(guidance)["SA_01", 0], SA[1])
    assert guidance.sources == ("b.nii", "a.nii", "c.nii", "c.nii")


def test_two_partial_files_on_one_slice_are_united(folder: Path) -> None:
    drawing = drawn_on([LA])
    left, right = drawing.data.copy(), drawing.data.copy()
    left[35:], right[:25] = 255, 255
    files = [
        complete(write_nifti(folder / f"{name}.nii", replace(drawing, data=data)))
        for name, data in (("left", left), ("right", right))
    ]
    assert_is_truth(read_guidance(STUDY, files).entries[0], LA)


def test_soft_and_hard_labels_of_one_pixel_are_averaged(folder: Path) -> None:
    drawing = drawn_on([LA])
    p = np.eye(4, dtype=np.float32)[drawing.data] * 0.6 + 0.1
    soft = write_nifti(folder / "soft.nii", replace(drawing, data=p))
    hard = write_nifti(folder / "hard.nii", drawing)
    entry = read_guidance(STUDY, [LabelFile(soft, 0), complete(hard)]).entries[0]
    expected = (np.eye(4)[truth(LA)] * 1.6 + 0.1) / 2
    np.testing.assert_allclose(entry.probabilities, expected, atol=1e-6)


def test_planes_on_no_slice_are_told(folder: Path) -> None:
    path = write_nifti(folder / "stack.nii", drawn_on(SA))
    without = CineStudy((*SA[1:3], LA))
    guidance = read_guidance(without, [complete(path)])
    assert list(by_key(guidance)) == [("SA_01", 0), ("SA_02", 0)]
    assert "2 of 4 annotated planes lie on no slice" in guidance.warnings[0]
