"""Tables of a real study, from its `benchmark.json`."""

from typing import Any

from NISFCore.benchmark.tables import LABELS, Table

FITS = ("unguided", "guided")
VOLUME_COLUMNS = ("edv_ml", "esv_ml", "ef_percent", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
DISC_COLUMNS = ("lv_ed_ml", "lv_es_ml", "rv_ed_ml", "rv_es_ml")


def all_tables(content: dict[str, Any]) -> list[Table]:
    """Every table."""
    return [
        figures_table(content),
        dice_table(content),
        same_frames_table(content),
        volume_table(content),
        disc_table(content),
        left_out_table(content),
        quality_table(content),
    ]


def quality_table(content: dict[str, Any]) -> Table:
    """The verdict on each fit, and the checks that raised a flag."""
    rows: list[tuple[str, str, float | None, str]] = []
    for fit, found in content["quality"].items():
        rows.append((fit, "verdict", None, found["verdict"]))
        raised = [c for c in found["checks"] if c["level"] != "reliable"]
        rows += [(fit, c["name"], c["value"], f"{c['level']}: {c['text']}") for c in raised]
    return Table("quality", "Quality", ("fit", "check", "value", "flag"), tuple(rows))


def figures_table(content: dict[str, Any]) -> Table:
    """All figures, or why they are missing."""
    rows = tuple(
        (key, value, content["missing"].get(key, "")) for key, value in content["figures"].items()
    )
    return Table("figures", "Figures", ("figure", "value", "why it is missing"), rows)


def dice_table(content: dict[str, Any]) -> Table:
    """Dice by fit and time of the cycle."""
    figures = content["figures"]
    rows = tuple(
        (fit, name, *(figures[f"{fit}_dice_{label}{when}"] for label in LABELS))
        for fit in FITS
        for name, when in (("all phases", ""), ("ED", "_ed"), ("ES", "_es"))
    )
    title = "Dice with the reference, in the slices (guided: frames that were not given)"
    return Table("dice", title, ("fit", "phases", *LABELS), rows)


def same_frames_table(content: dict[str, Any]) -> Table:
    """All fits on the ED and ES frames that were not given to any."""
    rows = tuple(
        (fit, *(found[label] for label in LABELS)) for fit, found in content["same_frames"].items()
    )
    title = "Dice of every fit on the same frames: those of ED and ES that were not given"
    return Table("same_frames", title, ("fit", *LABELS), rows)


def volume_table(content: dict[str, Any]) -> Table:
    """Volumes of the fitted hearts, and of the reference by how it is measured."""
    hearts = content["volumes"]
    rows = [(fit, *(found.get(key) for key in VOLUME_COLUMNS)) for fit, found in hearts.items()]
    rows += [
        (f"reference, {how}", *(found.get(key) for key in VOLUME_COLUMNS))
        for how, found in content["reference"]["volumes"].items()
    ]
    return Table("volumes", "Volumes", ("heart", *VOLUME_COLUMNS), tuple(rows))


def disc_table(content: dict[str, Any]) -> Table:
    """Volumes of all by the same quadrature."""
    rows = tuple(
        (name, *(found.get(key) for key in DISC_COLUMNS))
        for name, found in content["disc_volumes"].items()
    )
    title = "Volumes by discs: area in the SA slices times slice distance, the same for all"
    return Table("disc_volumes", title, ("heart", *DISC_COLUMNS), rows)


def left_out_table(content: dict[str, Any]) -> Table:
    """Dice in long-axis views that the fit did not see."""
    rows = tuple(
        (view, *(found[label] for label in LABELS))
        for view, found in content["left_out_views"].items()
    )
    return Table("left_out_views", "Dice in views left out of the fit", ("view", *LABELS), rows)
