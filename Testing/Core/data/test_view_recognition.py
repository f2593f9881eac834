"""Views from geometry: planned planes of real hearts, and hearts turned and planned otherwise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from NISFCore.data.view_geometry import azimuth_deg, typical_4ch_azimuth_deg, wrapped_deg
from NISFCore.data.view_hints import view_hint
from NISFCore.data.view_recognition import PlaneHint, recognise_views, short_axis_family
from NISFCore.views import View
from Testing.Core.generators.blob_heart import (
    BASE_LPS,
    RIGHT_LPS,
    BlobHeart,
    Plane,
    blob_heart,
    la_plane,
    la_planes,
    sa_planes,
)

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])

# ImageOrientationPatient and ImagePositionPatient (LPS) of planned cine planes; those of public
# test data of biv-me (UOA-Heart-Mechanics-Research), two scanners, image size not given.
HEART_1_SA = ((0.4883, 0.7639, -0.4219), (-0.6538, 0.0, -0.7567))
HEART_1 = {
    View.LA_4CH: ((0.9925, 0.0, -0.1222), (0.0776, 0.7726, 0.6301)),
    View.LA_3CH: ((-0.0799, 0.9945, -0.0682), (0.6493, 0.0, -0.7606)),
    View.LA_2CH: ((-0.5621, 0.8271, 0.0), (0.0, 0.0, -1.0)),
}
HEART_2_SA = ((0.536, 0.819, -0.205), (-0.548, 0.153, -0.822))
HEART_2 = {
    View.LA_4CH: ((0.965, 0.0, -0.260), (-0.188, -0.692, -0.697)),
    View.LA_3CH: ((0.096, 0.977, -0.192), (0.599, -0.211, -0.772)),
    View.LA_2CH: ((-0.591, 0.727, 0.350), (-0.201, 0.287, -0.937)),
}
Orientation = tuple[tuple[float, float, float], tuple[float, float, float]]


def normal_ras(orientation: Orientation) -> npt.NDArray[np.float64]:
    i, j = (RAS_FROM_LPS @ np.array(v) for v in orientation)
    normal = np.cross(i, j)
    return normal / np.linalg.norm(normal)


def hint(plane: Plane, name: str = "") -> PlaneHint:
    return PlaneHint(
        normal_ras=RAS_FROM_LPS @ plane.normal_lps,
        centre_ras=RAS_FROM_LPS @ plane.centre_lps,
        hint=view_hint(name),
    )


def recognised(planes: Sequence[Plane], heart: BlobHeart, offset_mm: float = 12.0) -> list[str]:
    """Views with a centre hint that lies towards the RV, as that of the beating does."""
    centre = RAS_FROM_LPS @ heart.to_lps(np.array([offset_mm, 0.0, 5.0]))
    return [r.view.value for r in recognise_views([hint(p) for p in planes], centre)]


def turned_heart(rng: np.random.Generator, sd_deg: float) -> BlobHeart:
    turn = Rotation.from_rotvec(np.deg2rad(sd_deg) * rng.standard_normal(3)).as_matrix()
    return blob_heart(turn @ BASE_LPS, turn @ RIGHT_LPS)


def replanned(plane: Plane, rng: np.random.Generator, sd_deg: float, sd_mm: float) -> Plane:
    turn = Rotation.from_rotvec(np.deg2rad(sd_deg) * rng.standard_normal(3)).as_matrix()
    centre = plane.centre_lps + sd_mm * rng.standard_normal(3)
    return Plane(
        plane.truth, plane.series, "", turn @ plane.i_lps, turn @ plane.j_lps, centre
    )  # fmt: skip


@pytest.mark.parametrize(("sa", "la"), [(HEART_1_SA, HEART_1), (HEART_2_SA, HEART_2)])
def test_planned_planes_of_real_hearts(sa: Orientation, la: dict[View, Orientation]) -> None:
    centre = np.zeros(3)
    normal = normal_ras(sa)
    planes = [PlaneHint(normal, centre + 10.0 * k * normal) for k in range(-4, 5)]
    planes += [PlaneHint(normal_ras(o), centre) for o in la.values()]
    found = [r.view for r in recognise_views(planes)]
    assert found == [View.SA] * 9 + list(la)


def test_hearts_within_twenty_degrees() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        heart = turned_heart(rng, sd_deg=12.0)
        stack = sa_planes(heart)
        planes = [*stack, *(replanned(p, rng, 4.0, 4.0) for p in la_planes(heart))]
        wrong += recognised(planes, heart) != [p.truth for p in planes]
    assert wrong == 0


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("angle_deg", [-20.0, 20.0])
def test_heart_turned_by_twenty_degrees(axis: int, angle_deg: float) -> None:
    rotvec = np.deg2rad(angle_deg) * np.eye(3)[axis]
    turn = Rotation.from_rotvec(rotvec).as_matrix()
    heart = blob_heart(turn @ BASE_LPS, turn @ RIGHT_LPS)
    planes = [*sa_planes(heart), *la_planes(heart)]
    assert recognised(planes, heart) == [p.truth for p in planes]
    only_long = la_planes(heart)
    assert recognised(only_long, heart) == [p.truth for p in only_long]
    only_short = sa_planes(heart)
    assert recognised(only_short, heart) == ["SA"] * len(only_short)


@pytest.mark.parametrize("view", ["LA_2CH", "LA_3CH", "LA_4CH"])
def test_one_long_axis_plane_beside_the_stack(view: str) -> None:
    heart = blob_heart()
    planes = [*sa_planes(heart), la_plane(heart, view, 50)]
    assert recognised(planes, heart)[-1] == view


def test_sign_of_normals_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    heart = blob_heart()
    planes = [*sa_planes(heart), *la_planes(heart)]
    hints = [hint(p) for p in planes]
    flipped = [
        PlaneHint(h.normal_ras * rng.choice([-1.0, 1.0]), h.centre_ras) for h in hints
    ]  # fmt: skip
    assert recognise_views(flipped) == recognise_views(hints)


def test_name_decides_where_geometry_cannot() -> None:
    """A plane half-way between 3CH and 4CH is what it is called."""
    heart = blob_heart()
    stack = [hint(p) for p in sa_planes(heart)]
    angle = np.deg2rad(59.0 / 2)
    across = np.cos(angle) * heart.x + np.sin(angle) * heart.y
    between = Plane("", 1, "", -across, heart.z, heart.centre)
    for name, view in (("LAX_4CH", View.LA_4CH), ("LAX_3CH", View.LA_3CH)):
        assert recognise_views([*stack, hint(between, name)])[-1].view is view


def test_wrong_name_does_not_decide() -> None:
    heart = blob_heart()
    planes = la_planes(heart)
    wrong_names = ("4ch", "2ch", "3ch")
    stack = [hint(p) for p in sa_planes(heart)]
    hints = [hint(p, name) for p, name in zip(planes, wrong_names, strict=True)]
    found = recognise_views([*stack, *hints])
    assert [r.view.value for r in found[len(stack) :]] == [p.truth for p in planes]


def test_parallel_long_axis_planes() -> None:
    """Of several parallel 4CH planes the one through the axis is taken."""
    heart = blob_heart()
    four = la_plane(heart, "LA_4CH", 60)
    shifted = [
        Plane("", 60, "", four.i_lps, four.j_lps, four.centre_lps + d * four.normal_lps)
        for d in (-24.0, -12.0, 0.0, 12.0, 24.0)
    ]
    found = recognised([*sa_planes(heart), *la_planes(heart)[:2], *shifted], heart, 0.0)
    assert found[-5:] == ["OTHER", "OTHER", "LA_4CH", "OTHER", "OTHER"]


def test_user_overrides() -> None:
    heart = blob_heart()
    hints = [hint(p) for p in (*sa_planes(heart), *la_planes(heart))]
    k = len(hints) - 3  # the 2CH plane
    given = PlaneHint(hints[k].normal_ras, hints[k].centre_ras, fixed=View.LA_4CH)
    found = recognise_views([*hints[:k], given, *hints[k + 1 :]])
    assert found[k].view is View.LA_4CH
    assert [r.view for r in found].count(View.LA_4CH) == 1
    out = PlaneHint(hints[0].normal_ras, hints[0].centre_ras, fixed=View.OTHER)
    found = recognise_views([out, *hints[1:]])
    assert found[0].view is View.OTHER
    assert "user" in found[0].reason
    assert found[1].view is View.SA


def test_axial_stack_is_no_short_axis() -> None:
    axial = [PlaneHint(np.array([0.0, 0, 1]), np.array([0.0, 0, 8.0 * k])) for k in range(12)]
    assert short_axis_family(axial) == []
    heart = blob_heart()
    own = [hint(p) for p in (*sa_planes(heart), *la_planes(heart))]
    assert short_axis_family([*axial, *own]) == list(range(12, 17))


def test_azimuth_does_not_depend_on_the_frame_across_the_axis() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        axis = np.array([0.5, -0.55, 0.65]) + 0.2 * rng.standard_normal(3)
        axis /= np.linalg.norm(axis)
        nearby = axis + 1e-7 * rng.standard_normal(3)
        nearby /= np.linalg.norm(nearby)
        normal = np.cross(axis, rng.standard_normal(3))
        a = azimuth_deg(normal, axis) - typical_4ch_azimuth_deg(axis)
        b = azimuth_deg(normal, nearby) - typical_4ch_azimuth_deg(nearby)
        assert abs(wrapped_deg(a - b)) < 1e-3


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("cine_trufi_retro 4CH", View.LA_4CH),
        ("CINE_segmented_LAX_2Ch", View.LA_2CH),
        ("la_3ch", View.LA_3CH),
        ("LVOT", View.LA_3CH),
        ("4 chamber", View.LA_4CH),
        ("CINE_segmented_SAX_b3", View.SA),
        ("sa", View.SA),
        ("short axis", View.SA),
        ("RVOT", View.OTHER),
        ("RV 2CH", View.OTHER),
        ("cine RV_2ch", View.OTHER),
        ("ao", View.OTHER),
        ("cine_trufi_retro", None),
        ("sagittarius", None),
        ("", None),
    ],
)
def test_hints_from_names(name: str, view: View | None) -> None:
    assert view_hint(name) is view
