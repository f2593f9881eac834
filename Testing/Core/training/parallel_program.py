"""One of several training processes, started by torch's launcher:

    torchrun --nproc-per-node 2 parallel_program.py COHORT OUT CONFIG.json [STOP_AFTER]

Trains or resumes as `nisf train` does and writes the weights that this process ended with. With
STOP_AFTER steps the last process asks to cancel there, alone.
"""

import json
import os
import sys
from pathlib import Path

from NISFCore.config import from_json_object
from NISFCore.errors import Cancelled
from NISFCore.progress import CancelToken
from NISFCore.training.config import TrainingConfig
from NISFCore.training.run import train_prior


class StopAt(CancelToken):
    """Is cancelled after so many looks, one of which is taken before every step."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_looks, self.n_steps = 0, n_steps

    @property
    def is_cancelled(self) -> bool:
        self.n_looks += 1
        return self.n_looks > self.n_steps

    def check(self) -> None:
        """Reading is not to be cancelled."""


def main(cohort: Path, out: Path, config: TrainingConfig, stop_after: int | None) -> None:
    rank, path = int(os.environ["RANK"]), out / "prior.safetensors"
    token = StopAt(stop_after) if stop_after is not None and rank == 1 else CancelToken()
    try:
        prior = train_prior(cohort, path, config, device="cpu", resume=True, cancel=token)
    except Cancelled as error:
        (out / f"cancelled{rank}.txt").write_text(str(error), encoding="utf-8")
    else:
        prior.save(out / f"rank{rank}.safetensors")


if __name__ == "__main__":
    values = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    stop_after = int(sys.argv[4]) if len(sys.argv) > 4 else None
    main(Path(sys.argv[1]), Path(sys.argv[2]), from_json_object(TrainingConfig, values), stop_after)
