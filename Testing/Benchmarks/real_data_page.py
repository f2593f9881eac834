"""Refresh the figures and pictures of docs/real-data.md from runs of `nisf benchmark real`.

    python -m Testing.Benchmarks.real_data_page PATIENT1_OUT AUTOFD_A_OUT AUTOFD_B_OUT ...

The page's text stays; what is between `<!-- begin NAME -->` and `<!-- end NAME -->` is replaced.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from skimage.io import imread, imsave
from skimage.transform import resize

from NISFCore.benchmark.real_figures import LABEL_KEYS
from NISFCore.benchmark.real_tables import all_tables
from NISFCore.benchmark.tables import Table
from NISFCore.files import write_text_atomically

PAGE = Path(__file__).parents[2] / "docs" / "real-data.md"
PICTURE_WIDTH = 1100
TABLES = ("dice", "same_frames", "volumes", "disc_volumes", "left_out_views", "quality")


@dataclass(frozen=True)
class Runs:
    """Folders of `nisf benchmark real`.

    Attributes:
        patient: the study with long-axis views and surfaces.
        stacks: the short-axis stacks with masks.
    """

    patient: tyro.conf.Positional[Path]
    stacks: tyro.conf.Positional[tuple[Path, ...]]


def patient_block(content: dict[str, Any]) -> str:
    """Tables of the study with surfaces, and what they were made with."""
    figures, where = content["figures"], content["machine"]
    given = ", ".join(f"{g['slice']} at phase {g['phase']}" for g in content["given"])
    text = (
        f"Intersection NCC {figures['intersection_ncc_before']:.3f} → "
        f"{figures['intersection_ncc_after']:.3f}; LV Dice in left-out views "
        f"{figures['left_out_view_dice_lv']:.3f}; a warm refit takes "
        f"{figures['refit_seconds']:.1f} s ({where['cpu']}, {where['n_threads']} thread(s), beside "
        f"other work). Given to the guided fit: {given}.\n"
    )
    tables = [t.markdown() for t in all_tables(content) if t.name in TABLES]
    return "\n".join([text, *(t.replace("## ", "### ") for t in tables)])


def stacks_block(runs: list[tuple[str, dict[str, Any]]]) -> str:
    """Dice of every stack, and their mean."""
    rows: list[tuple[str | float | None, ...]] = []
    for fit in ("unguided", "guided"):
        found = [[c["figures"][f"{fit}_dice_{k}_ed"] for k in LABEL_KEYS] for _, c in runs]
        rows += [
            (name, fit, *values, c["quality"][fit]["verdict"])
            for (name, c), values in zip(runs, found, strict=True)
        ]
        rows.append(("mean", fit, *(float(v) for v in np.mean(found, axis=0)), ""))
    columns = ("stack", "fit", *LABEL_KEYS, "verdict")
    return Table("stacks", "Dice at ED", columns, tuple(rows)).markdown().replace("## ", "### ")


def with_block(page: str, name: str, text: str) -> str:
    """The page with one block replaced."""
    pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
    replaced, n = re.subn(pattern, lambda m: f"{m[1]}\n{text}\n{m[2]}", page, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"{PAGE.name}: {n} blocks named {name}, expected 1")
    return replaced


def keep_picture(source: Path, name: str) -> None:
    """A smaller copy for the page."""
    image = imread(source)[..., :3]
    rows = round(image.shape[0] * PICTURE_WIDTH / image.shape[1])
    small = resize(image, (rows, PICTURE_WIDTH), anti_aliasing=True)
    folder = PAGE.parent / "images"
    folder.mkdir(exist_ok=True)
    levels = np.round(small * 31) / 31 * 255  # 32 levels: a third of the bytes
    imsave(folder / name, levels.astype(np.uint8), check_contrast=False)


def main() -> None:
    """Rewrite the page's blocks and pictures."""
    runs = tyro.cli(Runs)
    patient = json.loads((runs.patient / "benchmark.json").read_text(encoding="utf-8"))
    stacks = [
        (chr(ord("A") + k), json.loads((out / "benchmark.json").read_text(encoding="utf-8")))
        for k, out in enumerate(runs.stacks)
    ]
    page = PAGE.read_text(encoding="utf-8")
    page = with_block(page, "patient1", patient_block(patient))
    page = with_block(page, "autofd", stacks_block(stacks))
    write_text_atomically(PAGE, page)
    for when in ("ed", "es"):
        picture = runs.patient / "figures" / f"slices_{when}.png"
        keep_picture(picture, f"real-slices-{when}.png")
    keep_picture(runs.patient / "figures" / "intensities.png", "real-intensities.png")
    keep_picture(runs.stacks[0] / "figures" / "slices_ed.png", "real-stack-ed.png")


if __name__ == "__main__":
    main()
