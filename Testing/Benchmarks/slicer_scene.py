"""How long the scene side takes, and how much memory it holds, on slicer-core.

    python -m Testing.Benchmarks.slicer_scene [--quick]

Prints one table. The hearts are two nested ellipsoids and a third one beside them that contract,
on grids of 128 voxels per side over 30 phases and of 300 for a single phase. `--quick` takes an
eighth of the voxels, to try it.
"""

import argparse
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from Testing.Harness.mrml import extension_on_path, headless_slicer


def main(arguments: Sequence[str]) -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    slicer = headless_slicer()
    extension_on_path()
    from Testing.Benchmarks.slicer_scene_rows import N_PHASES, heart_rows, single_phase_rows

    n = 64 if options.quick else 128
    with tempfile.TemporaryDirectory() as folder:
        rows = heart_rows(slicer, n, Path(folder))
    rows += single_phase_rows(150 if options.quick else 300)
    table = Table(title=f"scene side, {N_PHASES} phases of {n}^3 unless said otherwise")
    for heading in ("what", "s", "CPU s", "estimated s", "MB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        values = (row.time.wall_s, row.time.cpu_s, row.estimate_seconds, row.size_mb)
        table.add_row(row.name, *("" if v is None else f"{v:.3g}" for v in values))
    console = Console(width=100)
    console.print(table)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of the process: {peak_mb:.0f} MB (Linux)")


if __name__ == "__main__":
    main(sys.argv[1:])
