"""`run_real`: fits of a real study against reference surfaces or label maps, as `benchmark.json`.

- unguided: the images alone. Where files have lost the patient's orientation, the fit is told what
  a user would say: the RV's side in steps of 45 degrees and which end of the stack is the base.
- guided: with three ED slices (base, middle, apex) and two ES slices (base, middle) of the
  reference; measured on all the other slices and phases.
- left-out view: every long-axis view is predicted by an unguided fit to the others.

OUT holds `benchmark.json`, `benchmark.md`, `tables/*.csv`, `figures/*.png` and `results/`, which
`nisf export` reads.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from NISFCore.benchmark.real_bench import Measured, RealBench, RealSettings
from NISFCore.benchmark.real_figures import summary
from NISFCore.benchmark.real_pictures import all_pictures
from NISFCore.benchmark.real_tables import all_tables
from NISFCore.files import (
    check_new_folder,
    new_folder,
    write_bytes_atomically,
    write_text_atomically,
)
from NISFCore.fitting.storage import save_result
from NISFCore.model.prior import load_prior
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

BENCHMARK_FILE = "benchmark.json"


def run_real(
    out: Path,
    settings: RealSettings,
    *,
    prior: Path | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Fit, compare, and write tables, pictures and `benchmark.json`; returns that.

    Raises:
        StudyError: if study or reference cannot be read or do not belong together.
        OutputError: if `out` holds something else, or cannot be written.
        Cancelled: if asked.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_new_folder(out, overwrite=True, marker=BENCHMARK_FILE)
    bench = RealBench(settings, load_prior(prior), progress, cancel)
    bench.tick()
    unguided = bench.measured("unguided", bench.fit(bench.study), frozenset())
    bench.tick()
    fits = [unguided]
    seconds, refitted = None, None
    if bench.given:
        fits.append(bench.measured("guided", bench.fit(bench.study, True), bench.given_keys))
        bench.tick()
        seconds, refitted = bench.refit_seconds(unguided.result)
        bench.tick()
    left_out = bench.left_out_views()
    content = summary(bench, fits, left_out, seconds, refitted)
    with new_folder(out, overwrite=True, marker=BENCHMARK_FILE) as folder:
        _write(folder, bench, fits, left_out, content)
    return content


def _write(
    out: Path,
    bench: RealBench,
    fits: Sequence[Measured],
    left_out: Mapping[str, Measured],
    content: dict[str, Any],
) -> None:
    for fit in fits:
        save_result(fit.result, out / "results" / fit.name, overwrite=True)
    tables = all_tables(content)
    for table in tables:
        write_text_atomically(out / "tables" / f"{table.name}.csv", table.csv())
    for name, png in all_pictures(bench, fits, left_out).items():
        write_bytes_atomically(out / "figures" / name, png)
    text = "\n".join([heading(content), *(table.markdown() for table in tables)])
    write_text_atomically(out / "benchmark.md", text)
    write_text_atomically(out / BENCHMARK_FILE, json.dumps(content, indent=1, allow_nan=False))


def heading(content: dict[str, Any]) -> str:
    """What `benchmark.md` opens with."""
    study, reference, where = content["study"], content["reference"], content["machine"]
    given = ", ".join(f"{g['slice']} at phase {g['phase']}" for g in content["given"]) or "none"
    return (
        f"# NISF on a real study\n\n"
        f"{study['n_slices']} slices ({', '.join(study['views'])}), {study['n_phases']} phases; "
        f"reference: {reference['kind']}, {reference['n_frames']} frames; prior: "
        f"{content['prior']['name']}. Given to the guided fit: {given}; its Dice is that of all "
        f"the other frames. Measured on {where['cpu']}, {where['n_threads']} threads of "
        f"{where['n_cores']} cores; NISFCore {content['versions']['NISFCore']}. Research use "
        "only.\n"
    )
