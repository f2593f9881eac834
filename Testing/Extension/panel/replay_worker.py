"""A quick stand-in for `python -m NISFCore` that leaves real results, made beforehand.

    python -m replay_worker inspect|fit|export|motion INPUT ... --progress json --cancel-file F

The folder of `NISF_REPLAY` holds what the real program wrote: `study`, `result`, `export`, for some
tests `motion`, and its last words in `inspect.json`. `NISF_REPLAY_MODE` makes it misbehave:
`COMMAND=MODE`, ...
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from NISFCore.errors import Cancelled
from NISFCore.progress import CancelToken, JsonProgress, ProgressEvent

MADE = {"inspect": ("--slices", "study"), "fit": ("--out", "result"), "export": ("--out", "export")}
N_STEPS, SLOW_SECONDS = 3, 0.05
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def misbehave(mode: str, words: list[str]) -> None:
    """What can go wrong in a worker."""
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "crash":
        raise RuntimeError("a library failed")
    if mode == "no-memory" and option(words, "--device") != "cpu":
        raise RuntimeError(OUT_OF_MEMORY)
    if mode == "error":
        say(event="error", message="the heart was not found in these images; check the views")
        sys.exit(2)
    if mode == "ambiguous" and "--select" not in words:
        text = "the input holds images of 2 subjects; which one is meant? Select by number"
        say(event="error", message=text)
        sys.exit(2)


def work(words: list[str], mode: str, cancel: CancelToken) -> None:
    """Steps, then the results; endless if asked."""
    reporter, began = JsonProgress(sys.stdout), time.monotonic()
    n_steps = 10_000 if mode == "endless" else N_STEPS
    for step in range(1, n_steps + 1):
        cancel.check()
        if mode in ("endless", "slow"):
            time.sleep(SLOW_SECONDS)
        seconds = time.monotonic() - began
        reporter.report(ProgressEvent(words[0], step, n_steps, seconds, psnr_db=20.0 + step))
        if mode == "endless" and "NISF_REPLAY_HEART" in os.environ:
            Path(os.environ["NISF_REPLAY_HEART"]).write_text(str(step))


def leave(words: list[str], made: Path) -> None:
    """The results, where the program leaves them."""
    if words[0] == "motion":
        shutil.copytree(made / "motion", Path(words[2]) / "motion", dirs_exist_ok=True)
        return
    name, source = MADE[words[0]]
    shutil.copytree(made / source, option(words, name), dirs_exist_ok=True)


def main() -> None:
    *words, _, _, _, cancel_file = sys.argv[1:]
    made = Path(os.environ["NISF_REPLAY"])
    modes = dict(part.split("=") for part in os.environ.get("NISF_REPLAY_MODE", "").split() if part)
    mode = modes.get(words[0], "")
    misbehave(mode, words)
    given = Path(words[2] if words[0] == "motion" else words[1])
    if not given.exists():
        say(event="error", message=f"there is no {given}; give a folder that exists")
        sys.exit(2)
    try:
        work(words, mode, CancelToken(Path(cancel_file)))
    except Cancelled as error:
        say(event="cancelled", message=str(error))
        sys.exit(130)
    if mode != "nothing":
        leave(words, made)
    answer = {"arguments": words}
    if words[0] == "inspect":
        answer |= json.loads((made / "inspect.json").read_text(encoding="utf-8"))
    say(event="result", **answer)


if __name__ == "__main__":
    main()
