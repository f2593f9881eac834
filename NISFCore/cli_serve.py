"""The command `nisf serve`: a worker that stays, for 3D Slicer."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from NISFCore.cli_options import Device, Job
from NISFCore.console import print_json_line


@dataclass(frozen=True)
class Serve:
    """Keep a result loaded and answer requests on standard input, as JSON lines; for 3D Slicer.

    Attributes:
        result: a folder made by `nisf fit`; it stays as it is.
        device: auto takes CUDA where it works.
    """

    result: Positional[Path]
    device: Device = "auto"
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import serving

        server = serving.Server(self.result, self.device)
        # without a buffer: a thread that waits inside one would hold its lock at the end
        requests = io.FileIO(sys.stdin.fileno(), closefd=False)
        with self.job.supervised() as supervision:
            progress, end = supervision["progress"], supervision["cancel"]
            serving.serve(server, requests, print_json_line, sys.stderr, progress, end)
