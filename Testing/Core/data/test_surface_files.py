"""Surfaces in files: names, formats, spaces, holes, and what is wrong with them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.surface_files import (
    Structure,
    closed_surface,
    holds_surfaces,
    read_surfaces,
    structure_and_phase,
)
from NISFCore.errors import StudyError
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import apply_affine
from Testing.Core.generators.surface_meshes import WRITERS, ellipsoid, write_mesh

AXES_MM = (24.0, 22.0, 40.0)
POSE = rigid(rotation_from_rotvec(np.array([0.3, -0.8, 0.5])), [40.0, -60.0, 25.0])
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "bivme-patient1"


def volume_ml(top: float) -> float:
    """Of the ellipsoid cut off at `top`: pi a b c (top - top^3 / 3 + 2 / 3)."""
    return float(np.pi * np.prod(AXES_MM) * (top - top**3 / 3 + 2 / 3)) / 1000


@pytest.mark.parametrize("suffix", sorted(WRITERS))
@pytest.mark.parametrize("top", [1.0, 0.6])
def test_every_format_closed_and_open(tmp_path: Path, suffix: str, top: float) -> None:
    points, triangles = ellipsoid(AXES_MM, top)
    path = write_mesh(tmp_path / f"ä b{suffix}", apply_affine(POSE, points), triangles)
    surface = closed_surface(path)
    assert surface.volume_ml == pytest.approx(volume_ml(top), rel=4e-3)
    assert (surface.n_filled > 0) == (top < 1)
    centre = surface.points_ras.mean(axis=0)
    assert np.linalg.norm(centre - apply_affine(POSE, points).mean(axis=0)) < 0.5


def test_triangles_wound_the_wrong_way_still_have_a_volume(tmp_path: Path) -> None:
    points, triangles = ellipsoid(AXES_MM, 0.5)
    path = write_mesh(tmp_path / "x.obj", points, triangles[:, ::-1])
    assert closed_surface(path).volume_ml == pytest.approx(volume_ml(0.5), rel=4e-3)


def test_the_open_volume_lacks_the_cone_over_the_hole(tmp_path: Path) -> None:
    top = 0.6
    points, triangles = ellipsoid(AXES_MM, top)
    surface = closed_surface(write_mesh(tmp_path / "x.ply", points, triangles))
    apex = surface.points_ras.mean(axis=0)
    radius_2 = AXES_MM[0] * AXES_MM[1] * (1 - top**2)
    cone_ml = np.pi * radius_2 * (top * AXES_MM[2] - apex[2]) / 3 / 1000
    assert surface.volume_ml - surface.open_volume_ml == pytest.approx(cone_ml, rel=0.01)


def test_ras_files_are_not_turned(tmp_path: Path) -> None:
    points, triangles = ellipsoid(AXES_MM)
    path = write_mesh(
        tmp_path / "x.stl", points + np.array([10.0, 20.0, 30.0]), triangles, np.eye(4)
    )
    np.testing.assert_allclose(
        closed_surface(path, "ras").points_ras.mean(axis=0), [10, 20, 30], atol=0.1
    )
    np.testing.assert_allclose(
        closed_surface(path, "lps").points_ras.mean(axis=0), [-10, -20, 30], atol=0.1
    )


@pytest.mark.parametrize(
    ("stem", "said"),
    [
        ("patient1_LV_ENDOCARDIAL_007", (Structure.LV, 7)),
        ("patient1_RV_ENDOCARDIAL_012", (Structure.RV, 12)),
        ("patient1_EPICARDIAL_000", (Structure.EPI, 0)),
        ("Fall 3 lv-endo 4", (Structure.LV, 4)),
        ("lv_blood_pool_03", (Structure.LV, 3)),
        ("RV", (Structure.RV, 0)),
        ("case_LV_EPI_9", (Structure.EPI, 9)),
        ("patient1_MITRAL_VALVE_003", None),
        ("elves_7", None),
    ],
)
def test_names(stem: str, said: tuple[Structure, int] | None) -> None:
    assert structure_and_phase(stem) == said


def write_cycle(folder: Path, structures: tuple[str, ...], phases: tuple[int, ...]) -> None:
    for k in phases:
        for name in structures:
            points, triangles = ellipsoid(np.array(AXES_MM) * (1 - 0.02 * k), 0.8, n=8)
            write_mesh(folder / "nested" / f"p1_{name}_{k:03d}.obj", points, triangles)


def test_a_zip_and_a_folder_are_the_same(tmp_path: Path) -> None:
    write_cycle(tmp_path / "folder", ("LV_ENDOCARDIAL", "EPICARDIAL", "TRICUSPID"), (3, 0, 11))
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "folder").rglob("*.obj")):
            file.write(path, path.relative_to(tmp_path))
        file.writestr("notes.txt", "not a surface")
    assert holds_surfaces(archive) and holds_surfaces(tmp_path / "folder")
    from_zip, from_folder = read_surfaces(archive), read_surfaces(tmp_path / "folder")
    assert [set(p) for p in from_zip] == [{Structure.LV, Structure.EPI}] * 3
    volumes = [p[Structure.LV].volume_ml for p in from_zip]
    assert volumes == [p[Structure.LV].volume_ml for p in from_folder]
    assert volumes == sorted(volumes, reverse=True)  # in the order of the phases' numbers


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(StudyError, match="named as expected"):
        read_surfaces(empty)
    write_cycle(tmp_path / "no lv", ("EPICARDIAL",), (0,))
    with pytest.raises(StudyError, match="no surface of the LV"):
        read_surfaces(tmp_path / "no lv")
    write_cycle(tmp_path / "gap", ("LV", "EPI"), (0, 1))
    (tmp_path / "gap" / "nested" / "p1_EPI_001.obj").unlink()
    with pytest.raises(StudyError, match="same structures"):
        read_surfaces(tmp_path / "gap")
    write_cycle(tmp_path / "twice", ("LV", "LV_ENDO"), (0,))
    with pytest.raises(StudyError, match="are both lv_endocardial of phase 0"):
        read_surfaces(tmp_path / "twice")
    broken = tmp_path / "broken" / "x_LV_000.stl"
    broken.parent.mkdir()
    broken.write_bytes(b"solid nothing")
    with pytest.raises(StudyError, match="no surface could be read"):
        read_surfaces(broken.parent)
    with pytest.raises(StudyError, match="folder or a zip"):
        read_surfaces(broken)


@pytest.mark.real_study
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared study is not beside the checkout")
def test_surfaces_of_a_real_study() -> None:
    """The volumes that its README gives (161 / 57 ml) are those of the open surfaces; closed at the
    rims of the valves they hold more."""
    phases = read_surfaces(SHARED / "meshes.zip")
    assert len(phases) == 25
    opened = [p[Structure.LV].open_volume_ml for p in phases]
    closed = [p[Structure.LV].volume_ml for p in phases]
    assert max(opened) == pytest.approx(161, abs=1) and min(opened) == pytest.approx(57, abs=1)
    assert max(closed) == pytest.approx(179, abs=1) and min(closed) == pytest.approx(72, abs=1)
