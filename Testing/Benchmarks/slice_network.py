"""What the slice network knows, on unseen simulated studies and on real ones.

    python -m Testing.Benchmarks.slice_network --out DIR [--network FILE] [--subjects 6]

Dice in plane, as scanned: the network's most probable labels against the truth of simulated studies
(clinical protocol, frame found from the planes as in a fit), against the reference surfaces of one
real study (a model's surfaces: a reference, not a truth) and against masks of four real stacks of
one phase (their frame comes from the masks: the files lost the patient's orientation). Ablations:
no beating, the beating in all windows, no coordinates, one window instead of the mean of several.
`DIR/slice_network.md` and `.json` hold the tables, PNGs the outlines.
"""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro

from NISFCore.analysis.metrics import DiceCounts
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.study import CineSlice
from NISFCore.evidence.inference import EvidenceSettings, SliceAnswer, ask, slice_evidence
from NISFCore.evidence.network import SliceNetwork, load_slice_network
from NISFCore.evidence.phases import nearest_phase
from NISFCore.files import write_text_atomically
from NISFCore.labels import LABEL_INFO
from NISFCore.phantom import sample_heart, sample_protocol, simulate_study
from NISFCore.views import View
from Testing.Benchmarks.slice_network_cases import Case, autofd_cases, surface_case
from Testing.Benchmarks.slice_network_pictures import write_picture

PHANTOM_SEED = 9_100_000
"""Simulated hearts that no training has seen: those draw from `(seed, k)`."""

ABLATIONS = {
    "all": EvidenceSettings(),
    "one window": EvidenceSettings(n_views=1),
    "the beating in all windows": EvidenceSettings(mixes_single_frames=False),
    "no beating": EvidenceSettings(uses_cycle=False),
    "no coordinates": EvidenceSettings(uses_coordinates=False),
}
CONFIDENCE_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHARED = Path("..") / "shared" / "data"


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        out: folder for tables and pictures.
        network: a file of `nisf train-slices`; the bundled network by default.
        subjects: simulated studies.
        data: folder of the shared real data; what is absent is left out.
        threads: of torch; 0 for its own choice.
    """

    out: Path
    network: Path | None = None
    subjects: int = 6
    data: Path = SHARED
    threads: int = 0


@dataclass
class Tally:
    """Dice by (data set, ablation, kind of view, time), and labels right by confidence."""

    dice: dict[tuple[str, str, str, str], DiceCounts] = field(default_factory=dict)
    calibration: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def add(
        self,
        key: tuple[str, str, str, str],
        answer: SliceAnswer,
        truth: npt.NDArray[np.uint8],
    ) -> None:
        """Count one slice: `truth` `(n, rows, cols)` at the answer's phases."""
        found = answer.probabilities.argmax(axis=-1).astype(np.uint8)
        found[:, ~answer.known] = 0
        self.dice.setdefault(key, DiceCounts()).add(found, truth)
        if key[1] == "all":
            counts = self.calibration.setdefault(key[0], np.zeros((5, 2), dtype=np.int64))
            counts += _calibration(answer, found, truth)


def _calibration(
    answer: SliceAnswer, found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """(pixels, right pixels) `(n_bins, 2)` by confidence, where network or truth see a heart."""
    chosen = ((found > 0) | (truth > 0)) & answer.known
    bins = np.digitize(answer.confidence[chosen], CONFIDENCE_EDGES[1:-1])
    is_right = (found == truth)[chosen]
    n = len(CONFIDENCE_EDGES) - 1
    return np.stack([np.bincount(bins, minlength=n), np.bincount(bins[is_right], minlength=n)], 1)


def phantom_cases(n_subjects: int) -> Iterable[Case]:
    """Unseen simulated studies with their frames as a fit finds them."""
    for k in range(n_subjects):
        seed = PHANTOM_SEED + k
        simulated = simulate_study(sample_heart(seed), sample_protocol(seed), seed)
        study = simulated.study
        heart = simulated.truth.heart
        frame = canonical_frame_of(study).canonical_from_ras
        labels = {c.name: c.labels.values for c in study.slices if c.labels is not None}
        yield Case("simulated", study, frame, labels, heart.parameters.motion.es_fraction)


def measure(case: Case, network: SliceNetwork, tally: Tally) -> None:
    """All ablations on one case, at ED and ES (and at what else has a truth, in `all`)."""
    for cine in case.study.slices:
        for time_name, phase in _times(case, cine).items():
            for name, settings in ABLATIONS.items():
                answer = ask(cine, case.canonical_from_ras, network, [phase], settings)
                kind = "SA" if cine.view is View.SA else "LA"
                truth = case.labels[cine.name][[phase]]
                tally.add((case.name, name, kind, time_name), answer, truth)


def _times(case: Case, cine: CineSlice) -> dict[str, int]:
    if case.es_fraction is None:
        return {"ED": 0}
    return {"ED": nearest_phase(cine, 0.0), "ES": nearest_phase(cine, case.es_fraction)}


def timed(case: Case, network: SliceNetwork) -> dict[str, float]:
    """Seconds of `slice_evidence` on a case, and for how many frames."""
    start = time.perf_counter()
    found = slice_evidence(case.study, case.canonical_from_ras, network)
    return {"n_frames": len(found), "seconds": round(time.perf_counter() - start, 2)}


def tables(tally: Tally, seconds: dict[str, float]) -> str:
    """Markdown of everything measured."""
    names = " / ".join(info.key for info in LABEL_INFO.values())
    rows = [f"Dice {names}", "", "| data | asked with | views | ED | ES |", "|---|---|---|---|---|"]
    keys = dict.fromkeys(key[:3] for key in tally.dice)
    for key in keys:
        cells = [_dice_text(tally.dice.get((*key, t))) for t in ("ED", "ES")]
        rows.append("| " + " | ".join([*key, *cells]) + " |")
    rows += ["", "| data | confidence | pixels | right |", "|---|---|---|---|"]
    for name, counts in tally.calibration.items():
        for (low, high), (n, right) in zip(_bins(), counts, strict=True):
            share = f"{right / n:.3f}" if n else "–"
            rows.append(f"| {name} | {low:g} to {high:g} | {n} | {share} |")
    return "\n".join([*rows, "", json.dumps(seconds), ""])


def _bins() -> list[tuple[float, float]]:
    return list(pairwise(CONFIDENCE_EDGES))


def _dice_text(counts: DiceCounts | None) -> str:
    return "–" if counts is None else " / ".join(f"{v:.3f}" for v in counts.by_key().values())


def as_json(tally: Tally, seconds: dict[str, float]) -> dict[str, Any]:
    """The same as plain JSON."""
    return {
        "dice": {", ".join(key): counts.by_key() for key, counts in tally.dice.items()},
        "calibration": {name: counts.tolist() for name, counts in tally.calibration.items()},
        "timing": seconds,
    }


def all_cases(settings: Settings) -> Iterable[Case]:
    """Simulated ones, then the real ones that are there."""
    yield from phantom_cases(settings.subjects)
    if (settings.data / "bivme-patient1").is_dir():
        yield surface_case(settings.data / "bivme-patient1")
    if (settings.data / "autofd").is_dir():
        yield from autofd_cases(settings.data / "autofd")


def frames_of_interest(case: Case) -> list[tuple[CineSlice, int]]:
    """Every slice at ED and ES."""
    return [(c, p) for c in case.study.slices for p in _times(case, c).values()]


def run(settings: Settings, network: SliceNetwork) -> tuple[Tally, dict[str, float]]:
    """Measure every case; pictures of the first simulated study and of all real ones."""
    tally, seconds = Tally(), {"n_frames": 0.0, "seconds": 0.0}
    for index, case in enumerate(all_cases(settings)):
        measure(case, network, tally)
        if index == 0:
            seconds = timed(case, network)
        if index == 0 or index >= settings.subjects:
            path = settings.out / f"{index + 1:02d}_{case.name}.png"
            write_picture(path, case, network, frames_of_interest(case))
    return tally, seconds


def main() -> None:
    """Run, print and write the tables."""
    settings = tyro.cli(Settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    settings.out.mkdir(parents=True, exist_ok=True)
    tally, seconds = run(settings, load_slice_network(settings.network))
    text = tables(tally, seconds)
    write_text_atomically(settings.out / "slice_network.md", text)
    figures = json.dumps(as_json(tally, seconds), indent=1)
    write_text_atomically(settings.out / "slice_network.json", figures)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
