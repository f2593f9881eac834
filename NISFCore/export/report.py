"""A one-page, self-contained HTML report: pictures embedded, no script, no network.

All text that comes from a study, a fit or a user is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from NISFCore._version import __version__
from NISFCore.analysis.evaluation import BeforeAfter, Evaluation, before_and_after
from NISFCore.analysis.fitted import FittedStudy
from NISFCore.analysis.intersections import IntersectionProfile, intersection_profiles
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.surfaces import label_surfaces
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.export import figures
from NISFCore.export.figures import Picture
from NISFCore.export.motion_section import motion_section
from NISFCore.export.report_page import PAGE
from NISFCore.fitting.quality import QualityReport
from NISFCore.function_names import FUNCTION_NAMES
from NISFCore.geometry.rigid import about_centre
from NISFCore.labels import LABEL_INFO
from NISFCore.progress import CancelToken, ProgressReporter

N_PROFILE_PAIRS = 4
HEADLINE_FIGURES = ("edv_ml", "esv_ml", "ef_percent", "mass_g", "rv_edv_ml", "rv_ef_percent")


@dataclass(frozen=True)
class ReportInputs:
    """What a report shows.

    Attributes:
        fitted: the fit.
        curve: its volume-time curve.
        evaluation: its figures, with or without a truth.
        notes: assumptions and warnings beside those of the study.
        motion: a motion folder, where there is one.
    """

    fitted: FittedStudy
    curve: VolumeCurve
    evaluation: Evaluation
    notes: tuple[str, ...] = ()
    motion: Path | None = None

    @property
    def ed_fraction(self) -> float:
        return float(self.curve.cycle_fractions[self.curve.ed_index])

    @property
    def es_fraction(self) -> float:
        return float(self.curve.cycle_fractions[self.curve.es_index])


def report_html(
    inputs: ReportInputs,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> str:
    """The whole page.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    steps = Steps("report", len(inputs.fitted.study.slices) + 3, progress, cancel)
    sections = {
        "subject": escape(inputs.fitted.study.subject),
        "version": escape(__version__),
        "legend": _legend(),
        "cards": _cards(inputs),
        "quality": _quality(inputs.fitted.quality),
        "notes": _notes(inputs),
        "slices": _slices(inputs, steps),
        "profiles": _profiles(inputs, steps),
        "curve": _image(figures.curve_picture(inputs.curve), "Volume of each label over the cycle"),
        "convergence": _convergence(inputs),
        "surfaces": _surfaces(inputs, steps),
        "function": _function_table(inputs),
        "motion": _motion_table(inputs),
        "strain": motion_section(inputs.motion),
        "evaluation": _evaluation_table(inputs.evaluation),
        "settings": _settings(inputs),
    }
    return Template(PAGE).substitute(sections)


def _image(picture: Picture, alt: str, css: str = "") -> str:
    return f'<img class="{css}" alt="{escape(alt)}" src="{picture.data_uri}">'


def _legend() -> str:
    chips = (
        f'<span class="chip"><i style="background:rgb{info.rgb}"></i>{escape(info.name)}</span>'
        for info in LABEL_INFO.values()
    )
    return "".join(chips)


def _number(value: float | None, digits: int = 1) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def _arrow(pair: BeforeAfter | None, digits: int) -> str:
    if pair is None:
        return "–"
    return f"{_number(pair.before, digits)} → {_number(pair.after, digits)}"


def _card(name: str, value: str, unit: str = "") -> str:
    small = f" <small>{escape(unit)}</small>" if unit else ""
    return f'<div class="card"><b>{escape(value)}{small}</b><span>{escape(name)}</span></div>'


def _cards(inputs: ReportInputs) -> str:
    values = VentricularFunction.from_curve(inputs.curve).to_dict()
    cards = [
        _card(FUNCTION_NAMES[key][0], _number(values[key], 0), FUNCTION_NAMES[key][1])
        for key in HEADLINE_FIGURES
    ]
    evaluation = inputs.evaluation
    cards.append(_card("PSNR of the fitted slices", _number(evaluation.psnr_db), "dB"))
    cards.append(
        _card("Agreement of crossing slices (NCC)", _arrow(evaluation.intersection_ncc, 2))
    )
    return "".join(cards)


def _quality(quality: QualityReport | None) -> str:
    """The verdict, and what raised a flag: what was measured, what is allowed, what it means."""
    if quality is None:
        return '<p class="muted">No checks were made.</p>'
    rows = [
        (flag.level.value, flag.name, flag.value_text, flag.allowed_text, flag.text, flag.source)
        for flag in quality.raised
    ]
    head = ("Level", "Check", "Measured", "Allowed", "What it means", "Source of the limits")
    table = _table(head, rows) if rows else ""
    return f"<p><b>{escape(quality.headline)}</b></p>{table}"


def _notes(inputs: ReportInputs) -> str:
    study = inputs.fitted.study
    items = [*study.warnings, *inputs.notes]
    items += [f"{e.slice.name} was not used: {e.reason}" for e in study.excluded]
    items += [f"{cine.name}: {note}" for cine in study.slices for note in cine.provenance.notes]
    if not items:
        return '<p class="muted">Nothing had to be assumed or repaired.</p>'
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _slices(inputs: ReportInputs, steps: Steps) -> str:
    times = (inputs.ed_fraction, inputs.es_fraction)
    rows = []
    for index, cine in enumerate(inputs.fitted.study.slices):
        steps.tick()
        picture = figures.slice_picture(inputs.fitted, index, times, steps.cancel)
        alt = f"{cine.name} at ED before and after alignment, at ES before and after alignment"
        rows.append(
            f'<div class="slice"><span>{escape(cine.name)}</span>{_image(picture, alt)}</div>'
        )
    return "".join(rows)


def shown_pairs(
    before: Sequence[IntersectionProfile], after: Sequence[IntersectionProfile], n: int
) -> list[tuple[IntersectionProfile, IntersectionProfile]]:
    """The pairs of slices that agreed least before alignment, the worst first."""
    by_pair = {(p.crossing.a, p.crossing.b): p for p in after}
    pairs = [
        (p, by_pair[p.crossing.a, p.crossing.b])
        for p in before
        if (p.crossing.a, p.crossing.b) in by_pair and np.isfinite(p.ncc)
    ]
    return sorted(pairs, key=lambda pair: pair[0].ncc)[:n]


def _profiles(inputs: ReportInputs, steps: Steps) -> str:
    steps.tick()
    fitted = inputs.fitted
    before, after = (
        intersection_profiles(fitted.study, motions, region)
        for motions, region in before_and_after(fitted)
    )
    blocks = []
    for a, b in shown_pairs(before, after, N_PROFILE_PAIRS):
        names = [fitted.study.slices[i].name for i in (b.crossing.a, b.crossing.b)]
        picture = figures.profile_picture(fitted, a, b, inputs.ed_fraction)
        blocks.append(_image(picture, f"Intensities where {names[0]} and {names[1]} meet", "wide"))
    return "".join(blocks) or '<p class="muted">No two slices cross inside the heart.</p>'


def _convergence(inputs: ReportInputs) -> str:
    if not inputs.fitted.history:
        return '<p class="muted">The fit recorded no steps.</p>'
    return _image(figures.convergence_picture(inputs.fitted.history), "PSNR over the fit")


def _surfaces(inputs: ReportInputs, steps: Steps) -> str:
    field = inputs.fitted.field
    phases = []
    for t in (inputs.ed_fraction, inputs.es_fraction):
        steps.tick()
        phases.append(label_surfaces(field, t, cancel=steps.cancel))
    pictures = figures.surface_pictures(phases, field.box.ras_from_box)
    captions = ("from the front", "from the base")
    return "".join(
        f"<figure>{_image(picture, f'Surfaces at {phase}, {view}')}"
        f"<figcaption>{phase}, {view}</figcaption></figure>"
        for phase, row in zip(("End-diastole", "End-systole"), pictures, strict=True)
        for picture, view in zip(row, captions, strict=True)
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every text is escaped here."""
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _function_table(inputs: ReportInputs) -> str:
    values = VentricularFunction.from_curve(inputs.curve).to_dict()
    errors = {key: pair.sd for key, pair in inputs.evaluation.volumes.items()}
    rows = [
        (name, _with_error(values[key], errors.get(key)), unit)
        for key, (name, unit) in FUNCTION_NAMES.items()
    ]
    return _table(("Figure", "Value ± standard error", "Unit"), rows)


def _with_error(value: float, error: float | None) -> str:
    return _number(value) if error is None else f"{_number(value)} ± {_number(error)}"


def _motion_table(inputs: ReportInputs) -> str:
    fitted, figures_of = inputs.fitted, inputs.evaluation.slices
    rows = []
    for i, cine in enumerate(fitted.study.slices):
        rotvec_rad, shift_mm = about_centre(fitted.slice_motions[i], cine.centre_ras)
        rows.append(
            (
                cine.name,
                " ".join(f"{x:+.1f}" for x in shift_mm),
                _with_error(float(np.linalg.norm(shift_mm)), figures_of[i].sd_mm),
                _with_error(float(np.rad2deg(np.linalg.norm(rotvec_rad))), figures_of[i].sd_deg),
                _number(float(fitted.intensity_scale[i]), 2),
                _number(figures_of[i].psnr_db),
            )
        )
    head = ("Slice", "Shift R A S (mm)", "Shift (mm)", "Rotation (°)", "Scale", "PSNR (dB)")
    return _table(head, rows)


def _evaluation_table(evaluation: Evaluation) -> str:
    """Figures before and after; against the truth where one is known."""
    rows = [
        ("Agreement of crossing slices (NCC)", _arrow(evaluation.intersection_ncc, 3)),
        ("Agreement of crossing labels (Dice)", _arrow(evaluation.intersection_dice, 3)),
        ("PSNR (dB)", _number(evaluation.psnr_db)),
        ("SSIM", _number(evaluation.ssim, 3)),
    ]
    rows += [
        (name, _arrow(pair, 2))
        for name, pair in (
            ("Slice motion error (mm)", evaluation.slice_motion_mm),
            ("Slice motion error (°)", evaluation.slice_motion_deg),
        )
        if pair is not None
    ]
    for name, dice in (
        ("3D + time", evaluation.dice_3d),
        ("in the slices", evaluation.dice_in_plane),
    ):
        for info in LABEL_INFO.values() if dice is not None else ():
            rows.append((f"Dice {name}, {info.name}", _number((dice or {})[info.key], 3)))
    table = _table(("Figure", "Before → after, or value"), rows)
    if all(pair.truth is None for pair in evaluation.volumes.values()):
        return table
    volumes = [
        (
            FUNCTION_NAMES[key][0],
            _number(pair.estimate),
            _number(pair.truth),
            _number(None if pair.truth is None else pair.estimate - pair.truth),
        )
        for key, pair in evaluation.volumes.items()
    ]
    return table + _table(("Figure", "Fit", "Truth", "Difference"), volumes)


def _settings(inputs: ReportInputs) -> str:
    seconds = {f"seconds: {k}": _number(v) for k, v in inputs.evaluation.seconds.items()}
    settings = {**flattened(inputs.fitted.settings), **seconds}
    return _table(("Setting", "Value"), list(settings.items()))


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
