"""What the benchmarks of motion share: kinds of hearts, a timed fit, means, and the run itself."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from NISFCore.data.study import CineSlice
from NISFCore.files import write_text_atomically
from NISFCore.motion.result import MotionResult
from NISFCore.phantom.motion_population import MotionKind

KINDS = (
    MotionKind.HEALTHY,
    MotionKind.DYSFUNCTIONAL,
    MotionKind.DYSSYNCHRONOUS,
    MotionKind.LARGE,
)

Row = dict[str, Any]


def timed(
    score: Callable[[MotionResult], dict[str, Any]], fit: Callable[[], MotionResult]
) -> dict[str, Any]:
    """Scores, processor seconds and flags of one fit."""
    began = time.process_time()
    result = fit()
    seconds = time.process_time() - began
    codes = [flag.code for flag in result.flags]
    return {**score(result), "cpu_seconds": seconds, "flags": codes}


def with_labels_of_ed(cine: CineSlice) -> CineSlice:
    """No labels after the first frame."""
    assert cine.labels is not None  # simulated
    first = np.arange(cine.n_phases) == 0
    return replace(cine, labels=replace(cine.labels, annotated=first))


def means(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Mean of every figure of every way, where every subject has it."""
    ways = [key for key, value in rows[0].items() if isinstance(value, dict)]
    found: dict[str, dict[str, float]] = {}
    for way in ways:
        columns = {name: [row[way][name] for row in rows] for name in rows[0][way]}
        found[way] = {
            name: float(np.mean(column))
            for name, column in columns.items()
            if all(isinstance(value, float) for value in column)
        }
    return found


def run(rows: Iterable[Row], out: Path, more: Callable[[list[Row]], Row] = lambda rows: {}) -> None:
    """Compute rows on one thread; each is written to the JSON file as soon as it is there, with
    their means and `more` of them."""
    torch.set_num_threads(1)
    done: list[Row] = []
    for row in rows:
        done.append(row)
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
        content = {**more(done), "means": means(done), "subjects": done}
        write_text_atomically(out, json.dumps(content, indent=1))
