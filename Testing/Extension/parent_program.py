"""A program that starts a job and then waits to be killed: what Slicer is to a worker."""

import sys
import time
from pathlib import Path

from NISFLib.job import Job, WorkerCommand


def main() -> None:
    here = Path(__file__).parent
    arguments = tuple(sys.argv[1:])
    environment = {"PYTHONPATH": str(here)}
    Job(WorkerCommand(Path(sys.executable), arguments, "fake_worker", environment))
    time.sleep(60)


if __name__ == "__main__":
    main()
