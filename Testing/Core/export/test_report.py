"""The report: complete, self-contained, and safe against what a study may call itself."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from NISFCore.analysis.evaluation import evaluate
from NISFCore.analysis.intersections import intersection_profiles
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import volume_curve
from NISFCore.data.study import ExcludedSlice, Provenance
from NISFCore.errors import Cancelled
from NISFCore.export import figures
from NISFCore.export.report import ReportInputs, report_html, shown_pairs
from NISFCore.export.settings import ExportFormat, ExportSettings
from NISFCore.export.writer import export_result
from NISFCore.labels import LABEL_INFO, Label
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import EllipsoidHeart, Fitted, TrueHeart, small_case

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Collects tags and checks that they nest."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def images(self) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == "img"]


def _evil_case() -> tuple[Fitted, TrueHeart]:
    fitted, truth = small_case(shape=(40, 44))
    first = replace(
        fitted.study.slices[0], provenance=Provenance(notes=(f"repeat {EVIL} dropped",))
    )
    extra = ExcludedSlice(fitted.study.slices[5].renamed(f"RVOT {EVIL}"), f"not cardiac {EVIL}")
    study = replace(
        fitted.study,
        slices=(first, *fitted.study.slices[1:]),
        subject=f"case {EVIL} $subject",
        warnings=(f"RR assumed {EVIL}",),
        excluded=(extra,),
    )
    return replace(fitted, study=study, settings={f"k {EVIL}": EVIL}), truth


def _inputs(fitted: Fitted, truth: TrueHeart | None) -> ReportInputs:
    t = uniform_cycle_fractions(4)
    curve = volume_curve(fitted.field, fitted.field.box.grid(6.0), t)
    evaluation = evaluate(fitted, truth, spacing_mm=6.0, n_phases=2)
    return ReportInputs(fitted, curve, evaluation, (f"centre assumed {EVIL}",))


@pytest.fixture(scope="module")
def html() -> str:
    return report_html(_inputs(*_evil_case()))


def test_text_from_outside_is_escaped(html: str) -> None:
    assert "<script" not in html
    for text in ("case ", "RR assumed ", "not cardiac ", "centre assumed ", "repeat ", "RVOT "):
        assert f"{text}&lt;script&gt;" in html


def test_the_page_is_well_formed_and_needs_nothing_else(html: str) -> None:
    page = Page(html)
    for attrs in page.images():
        assert str(attrs["src"]).startswith("data:image/")
        assert attrs["alt"]
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "script", "iframe", "object"})
    for _, attrs in page.tags:
        assert not {name for name in attrs if name.startswith("on") or name == "href"}
    assert "@import" not in html
    assert not re.search(r"url\(", html)


def test_everything_is_on_the_page(html: str) -> None:
    assert "Research use only. Not a medical device" in html
    # 6 slices, 4 surfaces, 4 profiles, curve, convergence
    assert len(Page(html).images()) == 6 + 4 + 4 + 2
    for text in (
        "LV ejection fraction",
        "Slice motion error (mm)",
        "Dice 3D + time, LV myocardium",
        "Agreement of crossing slices (NCC)",
        "Truth",
        "SA_03",
        "LA_2CH",
        "rgb(216, 60, 64)",
    ):
        assert text in html
    assert "$" not in re.sub(r"data:[^\"]+", "", html).replace("$subject</", "")


def test_pictures_decode(html: str) -> None:
    for attrs in Page(html).images():
        mime, data = re.match(r"data:image/([a-z+]+);base64,(.*)", str(attrs["src"])).groups()  # type: ignore[union-attr]
        raw = base64.b64decode(data, validate=True)
        if mime == "svg+xml":
            assert b"</svg>" in raw
        else:
            pixels = imread(BytesIO(raw), format="jpeg" if mime == "jpeg" else "png")
            assert min(pixels.shape[:2]) > 100
            assert pixels.std() > 0.01


def test_without_truth_there_is_no_truth_column() -> None:
    fitted, _ = small_case(shape=(40, 44))
    bare = replace(fitted, history=(), slice_motions=tuple(np.eye(4) for _ in range(6)))
    html = report_html(_inputs(bare, None))
    assert "<th>Truth</th>" not in html
    assert "Slice motion error" not in html
    assert "The fit recorded no steps." in html


def test_the_worst_pairs_are_shown_first() -> None:
    fitted, _ = small_case()
    before, after = (
        intersection_profiles(fitted.study, motions, fitted.field.contains)
        for motions in ([np.eye(4)] * 6, fitted.slice_motions)
    )
    pairs = shown_pairs(before, after, 3)
    values = [a.ncc for a, _ in pairs]
    assert values == sorted(p.ncc for p in before)[:3]
    for a, b in pairs:
        assert (a.crossing.a, a.crossing.b) == (b.crossing.a, b.crossing.b)


def test_outlines_follow_the_boundary_of_the_heart() -> None:
    fitted, _ = small_case()
    heart, cine = fitted.field, fitted.study.slices[1]
    assert isinstance(heart, EllipsoidHeart)
    crop = figures.heart_crop(heart, cine, cine.ras_from_ijk)
    outlines = figures.label_outlines(heart, cine.ras_from_ijk, crop, 0.0)
    (contour,) = outlines[Label.LV_BLOOD_POOL]
    # the scanned SA_01 plane cuts the heart at z = -5 mm
    i, j = contour.T
    x = (i - 71 / 2) * 1.9 + 15.0
    y = (j - 63 / 2) * 2.1
    a, b, c = heart.semi_axes_mm(0.0)[0]
    radial = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (5 / c) ** 2)
    assert np.abs(radial - 1).max() * a < 0.25  # mm


def test_colours_are_those_of_the_labels() -> None:
    for label, info in LABEL_INFO.items():
        assert [round(255 * c) for c in figures.rgb_unit(label)] == list(info.rgb)


def test_a_slice_outside_the_box_is_shown_whole() -> None:
    fitted, _ = small_case()
    cine = fitted.study.slices[0]
    far = cine.ras_from_ijk.copy()
    far[:3, 3] += 1000
    crop = figures.heart_crop(fitted.field, cine, far)
    assert (crop.rows, crop.cols) == ((0, 64), (0, 72))


def test_cancel() -> None:
    fitted, _ = small_case(shape=(40, 44))
    inputs, cancel = _inputs(fitted, None), CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        report_html(inputs, cancel=cancel)


def test_export_writes_the_report(tmp_path: Path) -> None:
    fitted, _ = small_case(shape=(40, 44))
    settings = ExportSettings(formats=(ExportFormat.REPORT,), phases="ED")
    export_result(fitted, tmp_path / "o", settings, notes=["left and right were guessed"])
    html = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "left and right were guessed" in html
    assert "<th>Truth</th>" not in html
