"""A stand-in for `python -m NISFCore`: speaks its protocol, misbehaves on demand.

python -m fake_worker MODE [ARGUMENT ...] --progress json --cancel-file F
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from NISFCore.errors import Cancelled
from NISFCore.progress import CancelToken, JsonProgress, ProgressEvent

BEAT_SECONDS = 0.05


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def succeed(arguments: list[str], cancel: CancelToken) -> None:
    """Three steps, noise between them, and a result that echoes the arguments."""
    reporter = JsonProgress(sys.stdout)
    for step in (1, 2, 3):
        reporter.report(ProgressEvent("fit", step, 3, 0.1 * step, psnr_db=20.0 + step))
        sys.stdout.write(f"noise ä {step}\n")
        sys.stderr.write(f"warning ♥ {step}\n")
    sys.stdout.write('{"event": "progress", "from": "another version"}\n[1]\n')
    say(event="result", folder="out", arguments=arguments, utf8=sys.stdout.encoding)


def obey(arguments: list[str], cancel: CancelToken) -> None:
    """Beat until cancelled."""
    beat(Path(arguments[0]), cancel)


def resist(arguments: list[str], cancel: CancelToken) -> None:
    """Ignore the cancel file, beat, and start a child that does the same."""
    command = [sys.executable, __file__, "resist-alone", arguments[1], "--progress", "json"]
    subprocess.Popen([*command, "--cancel-file", "none"])
    beat(Path(arguments[0]), CancelToken())


def resist_alone(arguments: list[str], cancel: CancelToken) -> None:
    beat(Path(arguments[0]), CancelToken())


def leave_child(arguments: list[str], cancel: CancelToken) -> None:
    """End well, but leave a child that holds the pipes."""
    command = [sys.executable, __file__, "resist-alone", arguments[0], "--progress", "json"]
    subprocess.Popen([*command, "--cancel-file", "none"])
    while not Path(arguments[0]).exists():
        time.sleep(BEAT_SECONDS)
    say(event="result")


def beat(heart: Path, cancel: CancelToken) -> None:
    """Append to a file as long as this process lives. Says nothing: a broken pipe must not be
    what ends it."""
    for _ in range(10_000):
        cancel.check()
        with heart.open("a") as file:
            file.write(".")
        time.sleep(BEAT_SECONDS)


def fail(arguments: list[str], cancel: CancelToken) -> None:
    """A clear error, as the program reports it."""
    say(event="error", message="no cine slice in ä; give a folder of DICOM")
    sys.exit(2)


def crash(arguments: list[str], cancel: CancelToken) -> None:
    raise RuntimeError("CUDA out of memory")


def die(arguments: list[str], cancel: CancelToken) -> None:
    os._exit(77)


def flood(arguments: list[str], cancel: CancelToken) -> None:
    """More output on both pipes than they can hold."""
    reporter = JsonProgress(sys.stdout)
    for step in range(5000):
        reporter.report(ProgressEvent("flood", step, 5000, 0.0, message="x" * 100))
        sys.stderr.write("y" * 100 + f" {step}\n")
    say(event="result")


MODES = {
    f.__name__.replace("_", "-"): f
    for f in (succeed, obey, resist, resist_alone, leave_child, fail, crash, die, flood)
}


def main() -> None:
    mode, *arguments = sys.argv[1:]
    arguments, options = arguments[:-4], arguments[-4:]
    assert options[:3] == ["--progress", "json", "--cancel-file"], options
    try:
        MODES[mode](arguments, CancelToken(Path(options[3])))
    except Cancelled as error:
        say(event="cancelled", message=str(error))
        sys.exit(130)


if __name__ == "__main__":
    main()
