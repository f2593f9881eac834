"""How long a whole `nisf fit` takes, as a user runs it: a process that reads DICOM and writes."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from NISFCore.benchmark.plan import ACCURACY_LEVEL_MM, BenchmarkPlan
from NISFCore.benchmark.subjects import at_level, subject_parameters
from NISFCore.errors import StudyError
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.phantom.scanner import simulate_study
from NISFCore.progress import CancelToken

N_SA_SLICES, N_PHASES = 9, 30


def process_seconds(
    plan: BenchmarkPlan, prior: Path | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Seconds of each run of `nisf fit` on a 12-slice, 30-phase DICOM study of subject 1.

    Raises:
        StudyError: if the process fails; the message is its own.
        Cancelled: at once; the process is ended.
    """
    cancel = cancel or CancelToken()
    heart, protocol, seed = subject_parameters(plan.seed, plan.n_phases, 1)
    study_protocol = replace(
        at_level(protocol, ACCURACY_LEVEL_MM), n_sa_slices=N_SA_SLICES, n_phases=N_PHASES
    )
    simulated = simulate_study(heart, study_protocol, seed, cancel)
    with tempfile.TemporaryDirectory(prefix="nisf-benchmark-") as name:
        folder = Path(name)
        write_dicom(simulated.study, folder / "study", seed)
        seconds = [
            _timed_fit(folder / "study", folder / f"result {k}", prior, cancel)
            for k in range(plan.n_process_runs)
        ]
    return {
        "seconds": seconds,
        "n_slices": len(simulated.study.slices),
        "n_phases": N_PHASES,
        "n_files": len(simulated.study.slices) * N_PHASES,
    }


def _timed_fit(study: Path, out: Path, prior: Path | None, cancel: CancelToken) -> float:
    command = [sys.executable, "-m", "NISFCore", "fit", str(study), "--out", str(out)]
    command += ["--progress", "none", "--device", "cpu"]
    command += [] if prior is None else ["--prior", str(prior)]
    began = monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while process.poll() is None:
                cancel.check()
                _wait(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        seconds = monotonic() - began
        if process.returncode != 0:
            output.seek(0)
            text = output.read().decode("utf-8", "replace").strip()
            raise StudyError(f"`nisf fit` ended with code {process.returncode}: {text[-500:]}")
    return seconds


def _wait(process: "subprocess.Popen[bytes]", seconds: float = 0.05) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
