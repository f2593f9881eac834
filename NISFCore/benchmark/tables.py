"""Tables of a benchmark: built once, written as Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from NISFCore.benchmark.coverage import KINDS
from NISFCore.benchmark.figures import FIGURES, Part, Parts, coverage_of, headline, reasons
from NISFCore.benchmark.slice_groups import GROUPS
from NISFCore.labels import FOREGROUND, LABEL_INFO

LABELS = tuple(LABEL_INFO[label].key for label in FOREGROUND)
VOLUMES = ("edv_ml", "esv_ml", "ef_percent", "mass_g", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of plain cells under a title."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        """As a section of a document."""
        lines = [self.columns, tuple("---" for _ in self.columns)]
        lines += [tuple(_text(cell) for cell in row) for row in self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n\n{body}\n"

    def csv(self) -> str:
        """Comma-separated, one header line, full precision."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if c is None else c for c in row] for row in self.rows])
        return stream.getvalue()

    def to_json_object(self) -> dict[str, Any]:
        """Title and one object per row."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows}


def all_tables(parts: Parts) -> list[Table]:
    """Every table that has rows."""
    tables = [
        headline_table(parts),
        table_1(parts),
        dense_table(parts),
        volume_table(parts),
        noise_table(parts),
        table_2(parts),
        speed_table(parts),
        check_table(parts),
        held_out_table(parts),
        psf_table(parts),
        classical_alignment_table(parts),
        classical_heart_table(parts),
        coverage_table(parts),
        export_table(parts),
    ]
    return [table for table in tables if table.rows]


def headline_table(parts: Parts) -> Table:
    """The figures of `benchmark.json`."""
    values = headline(parts)
    why = reasons(parts, values)
    rows = []
    for figure in FIGURES:
        value = values[figure.key]
        shown = why[figure.key] if value is None else round(value, figure.digits)
        rows.append((figure.key, shown, figure.definition))
    return Table("figures", "Headline figures", ("figure", "value", "definition"), tuple(rows))


def table_1(parts: Parts) -> Table:
    """The paper's Table 1: mean and SD over slices of a kind."""
    slices = [row for part in parts.accuracy for row in part["slices"]]
    keys = ("psnr_db", "ssim", *(f"dice_{label}" for label in LABELS))
    rows = []
    for group in (*GROUPS, "Average"):
        chosen = [s for s in slices if group in ("Average", s["group"])]
        if chosen:
            rows.append((group, len(chosen), *(_mean_sd(s[k] for s in chosen) for k in keys)))
    title = "Table 1: images and labels on the slices (mean ± SD over slices)"
    return Table("table_1", title, ("slice type", "slices", *keys), tuple(rows))


def dense_table(parts: Parts) -> Table:
    """Dense Dice and surface distances per label."""
    rows = []
    for label in LABELS:
        dense = [part["dense"] for part in parts.accuracy]
        phases = [p[label] for part in parts.accuracy for p in part["surfaces"].values()]
        rows.append(
            (
                label,
                _mean_sd(d["dice"][label] for d in dense),
                _mean_sd(d["dice_anchored"][label] for d in dense),
                _mean_sd(p["mean_mm"] for p in phases),
                _mean_sd(p["hd95_mm"] for p in phases),
            )
        )
    columns = ("label", "Dice 3D+t", "anchored", "surface distance mm", "HD95 mm")
    title = "The whole heart: Dice in 3D+t, surfaces at ED and ES (mean ± SD over subjects)"
    return Table("dense", title, columns, tuple(rows) if parts.accuracy else ())


def volume_table(parts: Parts) -> Table:
    """Errors of the clinical figures."""
    rows = []
    for name in VOLUMES:
        pairs = [part["volumes"][name] for part in parts.accuracy]
        errors = np.array([p["estimate"] - p["truth"] for p in pairs])
        if len(errors):
            bias, spread, worst = errors.mean(), errors.std(), np.abs(errors).max()
            row = (float(np.abs(errors).mean()), float(bias), float(spread), float(worst))
            rows.append((name, *row))
    columns = ("figure", "mean |error|", "bias", "SD", "worst")
    return Table("volumes", "Volumes and function against truth", columns, tuple(rows))


def noise_table(parts: Parts) -> Table:
    """PSNR against the noise ceiling."""
    rows = []
    for where in ("heart", "region"):
        keys = (f"psnr_{where}_db", f"ceiling_{where}_db", f"gap_{where}_db")
        rows.append((where, *(_mean_sd(p["noise"][k] for p in parts.accuracy) for k in keys)))
    columns = ("within", "PSNR dB", "noise ceiling dB", "gap dB")
    title = "PSNR against the noise ceiling (mean ± SD over subjects)"
    return Table("noise", title, columns, tuple(rows) if parts.accuracy else ())


def table_2(parts: Parts) -> Table:
    """The paper's Table 2 at every level, with the true errors as distributions over slices."""
    rows = []
    for level, found in sorted(parts.alignment.items()):
        for when in ("before", "after"):
            sides = [part[when] for part in found]
            mm = [v for side in sides for v in side["distance_mm"]]
            deg = [v for side in sides for v in side["angle_deg"]]
            ncc, dice = (_mean_sd(side[key] for side in sides) for key in ("ncc", "dice"))
            rows.append((level, when, ncc, dice, _mean_sd(mm), _p95(mm), _mean_sd(deg), _p95(deg)))
    columns = ("level mm", "", "NCC", "Dice", "error mm", "95th pct mm", "error °", "95th pct °")
    title = "Table 2: slice intersections and true slice errors, by misalignment"
    return Table("table_2", title, columns, tuple(rows))


def speed_table(parts: Parts) -> Table:
    """Seconds to the paper's plateaus, in Dice and in PSNR."""
    rows = []
    for number, part in enumerate(parts.speed, start=1):
        for solver in part["seconds_to_target"]:
            row: list[Cell] = [number, solver]
            for target, key in (
                ("target_dice", "seconds_to_target"),
                ("target_psnr_db", "seconds_to_psnr"),
            ):
                seconds, ours = part[key][solver], part[key]["ours"]
                row += [part[target], seconds, seconds / ours if seconds and ours else None]
            keys = ("seconds_total", "final_dice", "final_psnr_db")
            rows.append((*row, *(part[key][solver] for key in keys)))
    columns = (
        "subject",
        "solver",
        "target Dice",
        "seconds to it",
        "ratio to ours",
        "target PSNR dB",
        "seconds to that",
        "ratio",
        "seconds in all",
        "final Dice",
        "final PSNR dB",
    )
    return Table("speed", "Figure 2a: seconds to the paper's plateau", columns, tuple(rows))


def check_table(parts: Parts) -> Table:
    """Whether smaller batches follow the paper's path."""
    rows = [
        (number, row["step"], row["dice_full"], row["dice_followed"])
        for number, part in enumerate(parts.speed, start=1)
        for row in part["check"]
    ]
    columns = ("subject", "step", "Dice, 35,000 voxels", "Dice, as followed")
    return Table("paper_check", "The paper's path with all of its voxels", columns, tuple(rows))


def held_out_table(parts: Parts) -> Table:
    """Appendix B."""
    rows = []
    for case in parts.held_out[0] if parts.held_out else ():
        slices = [row for part in parts.held_out for row in part[case]["slices"]]
        dice = (_mean_sd(row[label] for row in slices) for label in LABELS)
        rows.append((case, len(slices), _mean_sd(row["ncc"] for row in slices), *dice))
    columns = ("fitted to", "slices", "NCC", *(f"Dice {label}" for label in LABELS))
    title = "Appendix B: prediction of views that the fit did not see (mean ± SD over slices)"
    return Table("held_out", title, columns, tuple(rows))


def psf_table(parts: Parts) -> Table:
    """Appendix C."""
    keys = ("psnr_db", "distance_mm", "angle_deg", "banding", "chance", "seconds")
    rows = [
        (name, *(_mean_sd(part[name][key] for part in parts.psf) for key in keys))
        for name in (parts.psf[0] if parts.psf else ())
    ]
    title = "Appendix C: point-spread function of the fit (mean ± SD over subjects)"
    return Table("psf", title, ("PSF", *keys), tuple(rows))


def classical_alignment_table(parts: Parts) -> Table:
    """Slice errors of classical registration beside ours, on the same subjects."""
    ours = _first(parts.alignment.get(4.0, ()), len(parts.classical))
    methods = (
        ("as scanned", [part["before"] for part in ours]),
        ("intersection registration", [part["registration"] for part in parts.classical]),
        ("ours", [part["after"] for part in ours]),
    )
    rows = []
    for name, sides in methods:
        mm = [v for side in sides for v in side["distance_mm"]]
        deg = [v for side in sides for v in side["angle_deg"]]
        ncc, dice = (_mean_sd(side[key] for side in sides) for key in ("ncc", "dice"))
        rows.append((name, _mean_sd(mm), _p95(mm), _mean_sd(deg), ncc, dice))
    columns = ("method", "error mm", "95th pct mm", "error °", "NCC", "Dice")
    title = "Classical alignment, 4 mm misalignment"
    return Table("classical_alignment", title, columns, tuple(rows) if parts.classical else ())


def classical_heart_table(parts: Parts) -> Table:
    """Hearts interpolated from true masks beside ours, on the same subjects."""
    ours = _first(parts.accuracy, len(parts.classical))
    by_method = [
        (name, [part["hearts"][name] for part in parts.classical])
        for name in (parts.classical[0]["hearts"] if parts.classical else ())
    ]
    by_method.append(
        ("ours (no mask given)", [p["dense"] | {"volumes": p["volumes"]} for p in ours])
    )
    rows = []
    for name, hearts in by_method:
        dice = (_mean_sd(h["dice"][label] for h in hearts) for label in LABELS)
        errors = {
            key: [abs(h["volumes"][key]["estimate"] - h["volumes"][key]["truth"]) for h in hearts]
            for key in ("edv_ml", "esv_ml", "ef_percent")
        }
        rows.append((name, *dice, *(_mean_sd(values) for values in errors.values())))
    columns = (
        "method",
        *(f"Dice {label}" for label in LABELS),
        "|EDV error| ml",
        "|ESV error| ml",
        "|EF error| points",
    )
    title = "Hearts from the true 2D masks, against ours, 4 mm misalignment"
    return Table("classical_hearts", title, columns, tuple(rows) if parts.classical else ())


def coverage_table(parts: Parts) -> Table:
    """Shares of intervals that hold the truth."""
    rows = []
    for kind in KINDS:
        shares = coverage_of(parts, kind)
        if shares is not None:
            rows.append((kind, 100 * shares["68"], 100 * shares["95"]))
    columns = ("intervals of", "of nominal 68 %", "of nominal 95 %")
    return Table("coverage", "Coverage of the intervals in percent", columns, tuple(rows))


def export_table(parts: Parts) -> Table:
    """Coarse-to-fine against dense rendering of one export."""
    rows = tuple((key, value) for key, value in parts.export.items() if not isinstance(value, list))
    title = "Export: coarse-to-fine against dense rendering"
    return Table("export", title, ("figure", "value"), rows)


def _first(found: Sequence[Part], n: int) -> list[Part]:
    return list(found[:n])


def _mean_sd(values: Iterable[float | None]) -> str | None:
    finite = [v for v in values if v is not None and np.isfinite(v)]
    return f"{np.mean(finite):.3f} ± {np.std(finite):.3f}" if finite else None


def _p95(values: Sequence[float]) -> float | None:
    return float(np.percentile(values, 95)) if values else None


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)
