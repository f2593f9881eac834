"""A real study's benchmark on a teacher's study: its references, measures, figures and files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from NISFCore import cli
from NISFCore.benchmark import real_bench
from NISFCore.benchmark.real import RealSettings, run_real
from NISFCore.benchmark.real_bench import said_by_a_user
from NISFCore.benchmark.real_figures import FIGURES
from NISFCore.benchmark.real_measures import (
    chosen_frames,
    dice_of,
    disc_volumes,
    given_frames,
    guidance_of,
    surface_volumes,
)
from NISFCore.benchmark.reference import (
    Reference,
    ReferenceFrame,
    from_guidance,
    label_files,
    phase_at,
    read_reference,
    without_rv_wall,
)
from NISFCore.data.anatomy import GivenOrientation
from NISFCore.data.study import CineStudy
from NISFCore.errors import OutputError, StudyError
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import Label
from NISFCore.views import View
from NISFCore.workflows import StudyInput
from Testing.Core.fitting.teacher import (
    Teacher,
    ras_from_planned,
    teacher_prior,
    teacher_study,
)
from Testing.Core.generators.surface_meshes import ellipsoid, write_mesh

N_PHASES = 4
NOTHING_SAID = GivenOrientation()
FAST = FitConfig(GaussNewtonConfig(voxels=(256,) * 4))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(seed=2, n_phases=N_PHASES, motion_mm=1.0, n_psf_nodes=1)


# in the frame in which the planes were planned: centre and semi-axes (mm) of each pool
POOLS = {
    "LV_ENDO": (Label.LV_BLOOD_POOL, np.array([0.0, 0, 0]), np.array([22.0, 20.0, 40.0])),
    "RV_ENDO": (Label.RV_BLOOD_POOL, np.array([48.0, 0, 4]), np.array([20.0, 28.0, 36.0])),
}


def beat(phase: int) -> float:
    """Size of the pools at a phase; the second is the smallest."""
    return (1.0, 0.75, 0.8, 0.9)[phase]


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beating ellipsoids as LV and RV, in LPS."""
    folder = tmp_path_factory.mktemp("surfaces ä")
    for phase in range(N_PHASES):
        for name, (_, centre, semi_axes) in POOLS.items():
            points, triangles = ellipsoid(semi_axes * beat(phase), n=24)
            points_ras = apply_affine(ras_from_planned(), points + centre)
            write_mesh(folder / f"t_{name}_{phase:03d}.ply", points_ras, triangles)
    return folder


def own_labels(study: CineStudy) -> Reference:
    """The study's own labels as a reference."""
    frames = []
    for cine in study.slices:
        assert cine.labels is not None
        known = np.ones(cine.shape, dtype=np.bool_)
        for phase, labels in enumerate(cine.labels.values):
            frames.append(ReferenceFrame(cine.name, phase, phase, labels, known))
    return from_guidance(guidance_of(frames))


def write_label_maps(study: CineStudy, folder: Path, phases: tuple[int, ...]) -> None:
    """One label map per slice and phase, in patient space, with images beside them."""
    for cine in study.slices:
        assert cine.labels is not None
        for phase in phases:
            affine = cine.ras_from_ijk
            name = f"{cine.name}_frame{phase + 1:02d}"
            labels = np.ascontiguousarray(cine.labels.values[phase].T[:, :, None])
            nib.save(nib.Nifti1Image(labels, affine), folder / f"{name}_gt.nii.gz")
            image = np.ascontiguousarray(cine.frames[phase].T[:, :, None])
            nib.save(nib.Nifti1Image(image, affine), folder / f"{name}.nii.gz")


# ---------------------------------------------------------------- references


def test_surfaces_are_cut_by_the_slices(teacher: Teacher, surfaces: Path) -> None:
    """What the planes show of ellipsoids, by their formula."""
    study = teacher.study
    reference = read_reference(study, surfaces)
    assert reference.labels == {Label.LV_BLOOD_POOL, Label.RV_BLOOD_POOL}
    assert reference.kind == "surfaces" and len(reference.frames) == N_PHASES * len(study.slices)
    assert (reference.ed(study), reference.es(study)) == (0, 1)
    shown = {}
    for cine in study.slices:
        points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
        planned = apply_affine(np.linalg.inv(ras_from_planned()), points)
        for k in range(N_PHASES):
            labels = np.zeros(cine.shape, dtype=np.uint8)
            for label, centre, semi_axes in reversed(POOLS.values()):
                scaled = (planned - centre) / (semi_axes * beat(k))
                labels[np.linalg.norm(scaled, axis=-1) < 1] = label
            shown[cine.name, k] = labels
    dice = dice_of(shown, reference.frames, reference.labels)
    assert dice["lv_blood_pool"] > 0.985 and dice["rv_blood_pool"] > 0.985
    assert np.isnan(dice["lv_myocardium"])  # no epicardium was given
    volumes = surface_volumes(reference)
    assert volumes is not None and volumes.lv_ml is not None
    expected = 4 / 3 * np.pi * 22 * 20 * 40 / 1000
    assert volumes.lv_ml[0] == pytest.approx(expected, rel=0.02)


def test_phases_are_matched_by_number_or_by_time(teacher: Teacher) -> None:
    cine = teacher.study.slices[0]
    assert [phase_at(cine, k, N_PHASES) for k in range(N_PHASES)] == list(range(N_PHASES))
    late = replace(cine, trigger_times_ms=np.array([10.0, 300, 500, 890]), rr_interval_ms=900.0)
    assert phase_at(late, 0, 8) in (0, 3)  # 10 ms after or before the R wave
    assert phase_at(late, 3, 8) == 1


def test_label_maps_of_a_folder(teacher: Teacher, tmp_path: Path) -> None:
    write_label_maps(teacher.study, tmp_path, (0, 2))
    assert all("_gt" in p.name for p in label_files(tmp_path))
    reference = read_reference(teacher.study, tmp_path)
    assert reference.moments == (0, 2) and reference.kind == "label maps"
    for frame in reference.frames:
        cine = next(s for s in teacher.study.slices if s.name == frame.slice_name)
        assert cine.labels is not None
        np.testing.assert_array_equal(frame.labels, cine.labels.values[frame.phase])
    with pytest.raises(StudyError, match="neither surfaces nor label maps"):
        label_files(tmp_path / "nothing")


def test_the_rv_wall_is_no_lv_myocardium() -> None:
    """A row through LV, septum, RV and its free wall: the septum stays, the free wall goes."""
    plane = np.zeros((5, 20), dtype=np.uint8)
    plane[:, 2:17] = Label.LV_MYOCARDIUM
    plane[1:4, 4:8] = Label.LV_BLOOD_POOL
    plane[0:5, 10:15] = Label.RV_BLOOD_POOL
    found = without_rv_wall(plane)
    assert (found[2, 15:17] == 0).all()
    assert (found[2, 8:10] == Label.LV_MYOCARDIUM).all()
    assert (found[2, 2:4] == Label.LV_MYOCARDIUM).all()
    no_lv = np.where(plane == Label.LV_BLOOD_POOL, 0, plane).astype(np.uint8)
    np.testing.assert_array_equal(without_rv_wall(no_lv), no_lv)


# ---------------------------------------------------------------- measures


def test_given_slices_are_base_middle_apex_at_ed_and_base_middle_at_es(teacher: Teacher) -> None:
    reference = own_labels(teacher.study)
    given = given_frames(teacher.study, reference)
    ed, es = reference.ed(teacher.study), reference.es(teacher.study)
    assert es is not None
    assert [f.moment for f in given].count(ed) == 3 and [f.moment for f in given].count(es) == 2
    names = [f.slice_name for f in given if f.moment == ed]
    assert names == sorted(names)  # from base to apex
    one_time = Reference(reference.at(ed), reference.labels, "label maps")
    assert len(given_frames(teacher.study, one_time)) == 3
    assert chosen_frames(teacher.study, Reference((), frozenset(), "label maps"), 0, (0.5,)) == []


def test_dice_counts_known_pixels_only(teacher: Teacher) -> None:
    frame = own_labels(teacher.study).frames[0]
    wrong = np.full_like(frame.labels, Label.LV_BLOOD_POOL)
    half = frame.known.copy()
    half[: len(half) // 2] = False
    shown = {frame.key: np.where(half, frame.labels, wrong)}
    known_half = replace(frame, known=half)
    labels = frozenset(np.unique(frame.labels * half)) - {0}
    found = dice_of(shown, [known_half], [Label(v) for v in labels])
    assert [v for v in found.values() if np.isfinite(v)] == [1.0] * len(labels)


def test_discs(teacher: Teacher) -> None:
    stack = teacher.study.of_view(View.SA)
    full = [((s.name, 0), np.full(s.shape, Label.LV_BLOOD_POOL, dtype=np.uint8)) for s in stack]
    volumes = disc_volumes(teacher.study, full)
    assert volumes is not None and volumes.lv_ml is not None and volumes.rv_ml is not None
    rows, cols = stack[0].shape
    expected = rows * cols * 3.0 * 3.2 * 14.0 * len(stack) / 1000
    assert volumes.lv_ml[0] == pytest.approx(expected)
    assert volumes.rv_ml[0] == 0
    only_la = teacher.study.restricted_to((View.LA_2CH, View.LA_4CH))
    assert disc_volumes(only_la, full) is None


def test_what_a_user_says_of_a_stack(teacher: Teacher) -> None:
    said = said_by_a_user(teacher.study, own_labels(teacher.study))
    assert said.base_slice == "SA_01"
    assert said.rv_side in ("right", "up-right")  # x of the planned frame is along the columns


# ---------------------------------------------------------------- the whole run


def run_fast(
    out: Path,
    study: CineStudy,
    reference: Path,
    monkeypatch: pytest.MonkeyPatch,
    orientation: GivenOrientation = NOTHING_SAID,
) -> dict[str, Any]:
    monkeypatch.setattr(StudyInput, "read", lambda self, cancel=None: study)
    monkeypatch.setattr(real_bench, "VOLUME_SPACING_MM", 8.0)
    source = StudyInput(Path("study"), orientation=orientation)
    settings = RealSettings(source, reference, config=FAST, evidence=False)
    prior = out.parent / "prior.safetensors"
    teacher_prior().save(prior)
    return run_real(out, settings, prior=prior)


def test_a_whole_run(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    write_label_maps(teacher.study, maps, (0, 1, 2, 3))
    out = tmp_path / "out ä"
    content = run_fast(out, teacher.study, maps, monkeypatch)
    stored = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert stored == content
    figures = stored["figures"]
    assert tuple(figures) == FIGURES
    assert set(stored["quality"]) == {"unguided", "guided"}
    assert stored["missing"] == {} and all(v is not None for v in figures.values())
    for fit in ("unguided", "guided"):
        assert figures[f"{fit}_dice_lv_blood_pool"] > 0.85
        assert figures[f"{fit}_edv_ml"] > figures[f"{fit}_esv_ml"] > 0
    assert figures["left_out_view_dice_lv"] > 0.75
    assert set(stored["same_frames"]) == {"unguided", "guided", "refit"}
    assert set(stored["left_out_views"]) == {"LA_2CH", "LA_3CH", "LA_4CH"}
    for name in ("slices_ed", "slices_es", "left_out_views", "volume_curves"):
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "Research use only" in text and str(tmp_path) not in text
    assert (out / "results" / "guided" / "result.json").is_file()


def test_one_time_and_no_orientation(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack at ED whose orientation is lost: what cannot be measured is null, and why."""
    stack = teacher.study.restricted_to((View.SA,))
    slices = tuple(
        replace(s, frames=s.frames[:1], trigger_times_ms=s.trigger_times_ms[:1], labels=None)
        for s in stack.slices
    )
    study = replace(stack, slices=slices, has_patient_orientation=False)
    maps = tmp_path / "maps"
    maps.mkdir()
    write_label_maps(stack, maps, (0,))
    said = GivenOrientation("right", "SA_01")  # this heart is as large at its apex as at its base
    content = run_fast(tmp_path / "out", study, maps, monkeypatch, said)
    figures, missing = content["figures"], content["missing"]
    assert content["study"]["orientation"]["base_slice"] == "SA_01"
    assert figures["unguided_dice_lv_blood_pool_ed"] > 0.8
    assert figures["unguided_dice_lv_blood_pool"] == figures["unguided_dice_lv_blood_pool_ed"]
    assert {k for k, v in figures.items() if v is None} == set(missing)
    assert "one time" in missing["guided_dice_rv_blood_pool_es"]
    assert "one phase" in missing["unguided_ef_percent"]
    assert "cross" in missing["intersection_ncc_after"]
    assert "long-axis" in missing["left_out_view_dice_lv"]


def test_other_peoples_folders_are_not_replaced(teacher: Teacher, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputError):
        run_real(tmp_path, RealSettings(StudyInput(tmp_path), tmp_path))


@pytest.mark.parametrize("plan", ["real", "quick"])
def test_the_command_says_what_is_missing(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["study"] if plan == "quick" else []
    assert cli.main(["benchmark", plan, *extra, "--out", str(tmp_path / "x")]) == cli.EXIT_ERROR
    assert "--reference" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
