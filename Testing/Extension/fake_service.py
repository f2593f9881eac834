"""A stand-in for `python -m NISFCore serve`: speaks its protocol, misbehaves on demand.

python -m fake_service ... --progress json --cancel-file F
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any


def say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Fake:
    """Reads in a thread, works in the main one, as the real program."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.cancelled: set[int] = set()
        self.n = 0
        self.mark: Path | None = None

    def read(self) -> None:
        for line in sys.stdin:
            values = json.loads(line)
            if "cancel" in values:
                self.cancelled.add(values["cancel"])
            else:
                self.requests.put(values)
        self.requests.put(None)

    def answer(self, number: int, kind: str, values: dict[str, Any]) -> None:
        self.n += 1
        if kind == "work":
            for step in range(1, values["steps"] + 1):
                say(event="progress", stage="work", step=step, total=values["steps"], seconds=0.1)
            sys.stdout.write("noise ä\n")
        elif kind == "obey":
            while number not in self.cancelled:
                time.sleep(0.02)
            say(event="stopped", id=number, message="cancelled by the user; nothing was written")
            return
        elif kind == "refuse":
            say(event="failed", id=number, message="no slice lies there")
            return
        elif kind == "crash":
            sys.stderr.write("MemoryError: ä\n")
            sys.stderr.flush()
            os._exit(3)
        elif kind == "resist":
            time.sleep(600)
        elif kind == "beat":
            self.beat(Path(values["file"]))
        elif kind == "mark":
            self.mark = Path(values["file"])
        say(event="answer", id=number, n=self.n, **values)

    def beat(self, heart: Path) -> None:
        """Write as long as somebody listens."""
        while self.requests.empty():
            with heart.open("a") as file:
                file.write(".")
            time.sleep(0.05)


def main() -> None:
    fake = Fake()
    threading.Thread(target=fake.read, daemon=True).start()
    say(event="ready")
    while (request := fake.requests.get()) is not None:
        number = request.pop("id")
        ((kind, values),) = request.items()
        fake.answer(number, kind, values)
    if fake.mark is not None:
        fake.mark.touch()


if __name__ == "__main__":
    main()
