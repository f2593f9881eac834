"""The command `nisf train-slices`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from NISFCore.cli_options import Job, OptionalText


@dataclass(frozen=True)
class TrainSlices:
    """Train the network that labels single slices, on simulated hearts only.

    Attributes:
        out: the network file, NAME.safetensors.
        minutes: the training takes so long, once the hearts are simulated; 0 for no limit.
        steps: the training takes so many steps, if they come first; 0 for no limit.
        hearts: simulated hearts to learn from (about a second and 3.5 MB of memory each).
        seed: of hearts, contrast and weights.
        name: shown to users of the network; by default that of the file.
        overwrite: replace a network that exists.
    """

    out: Path
    minutes: float = 45.0
    steps: int = 0
    hearts: int = 300
    seed: int = 1
    name: OptionalText = None
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.evidence.training import SliceTrainingConfig, train_slice_network

        config = SliceTrainingConfig(
            seed=self.seed, n_hearts=self.hearts, steps=self.steps, minutes=self.minutes
        )
        name = self.out.stem if self.name is None else self.name
        with self.job.supervised() as supervision:
            network = train_slice_network(config, self.out, name, self.overwrite, **supervision)
        values = {"file": str(self.out), **network.info.training}
        self.job.answer(values, f"slice network: {self.out}")
