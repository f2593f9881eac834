"""How the worker is found (checkout, installed extension, pip), and the batch script."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from NISFLib import worker_python
from NISFLib.core_path import core_root
from NISFLib.worker_python import nisf_command
from Testing.conftest import REPOSITORY

MODULE = REPOSITORY / "NISFExtension" / "NISF.py"
SCRIPT = REPOSITORY / "NISFExtension" / "Scripts" / "nisf_batch.py"
FAKE_SLICER = (
    "class util:\n"
    "    @staticmethod\n"
    "    def exit(code):\n"
    "        print('slicer exits with', code)\n"
    "app = object()\n"
)


def bare_python(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python without any installed package, as Slicer's own is without NISFCore."""
    return subprocess.run(
        [sys.executable, "-S", *words],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_beside_the_extension_is_taken() -> None:
    assert core_root() == REPOSITORY


def test_an_installed_extension_has_it_beside_the_module(tmp_path: Path) -> None:
    for name in ("NISFCore", "NISFLib"):
        (tmp_path / "modules" / name).mkdir(parents=True)
        (tmp_path / "modules" / name / "__init__.py").touch()
    assert core_root(tmp_path / "modules") == tmp_path / "modules"


def test_else_the_one_that_pip_installed(tmp_path: Path) -> None:
    assert core_root(tmp_path / "modules") == REPOSITORY


def test_pythonslicer_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_python.shutil, "which", lambda name: str(tmp_path / name))
    assert nisf_command("fit").python == tmp_path / "PythonSlicer"
    monkeypatch.setattr(worker_python.shutil, "which", lambda name: None)
    assert nisf_command("fit").python == Path(sys.executable)


def test_a_copied_extension_runs_its_own_package(tmp_path: Path) -> None:
    """As installed: module and package in one folder, found from any directory."""
    place = tmp_path / "ä installed"
    for name, source in (("NISFCore", REPOSITORY), ("NISFLib", REPOSITORY / "NISFExtension")):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(source / name, place / name, ignore=ignored)
    code = (
        "from NISFLib.core_path import make_core_importable\n"
        "make_core_importable()\n"
        "from NISFLib.worker_python import nisf_command\n"
        "import NISFCore\n"
        "c = nisf_command('--version')\n"
        "print(NISFCore.__file__)\n"
        "import os, subprocess\n"
        "words = [str(c.python), '-c', 'import NISFCore; print(NISFCore.__file__)']\n"
        "subprocess.run(words, env={**os.environ, **c.environment}, check=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-u", "-c", code],
        env={**os.environ, "PYTHONPATH": str(place)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(line).parent.parent for line in run.stdout.splitlines()] == [place, place]


def test_the_module_of_a_checkout_finds_the_package(tmp_path: Path) -> None:
    """The package lies beside the module's folder, where only the module itself looks for it."""
    text, last = MODULE.read_text(encoding="utf-8"), "\nmake_core_importable()\n"
    head = text[text.index("sys.path[:0]") : text.index(last) + len(last)]
    code = f"import sys\nfrom pathlib import Path\n__file__ = {str(MODULE)!r}\n{head}"
    run = bare_python("-c", f"{code}import NISFCore\nprint(NISFCore.__file__)", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).parent.parent == REPOSITORY


def test_an_old_slicer_is_told_what_it_is() -> None:
    """Before anything is read that its Python 3.9 does not understand."""
    text = MODULE.read_text(encoding="utf-8")
    old = next(n for n in ast.parse(text, feature_version=(3, 9)).body if isinstance(n, ast.If))
    assert "sys.version_info < (3, 10)" in ast.unparse(old)
    assert "Slicer 5.12 or later" in ast.unparse(old)
    assert old.lineno < text[: text.index("from NISFLib")].count("\n")


def test_the_batch_script_of_a_checkout_says_what_is_missing(tmp_path: Path) -> None:
    run = bare_python(SCRIPT, "--", "in", "out", folder=tmp_path)
    assert run.returncode == 2
    assert "NISF needs" in run.stderr and "Traceback" not in run.stderr


@pytest.mark.parametrize("separator", [["--"], []])
def test_the_batch_script_gives_back_the_exit_code(separator: list[str], tmp_path: Path) -> None:
    """Slicer may or may not leave the separator in the arguments."""
    words = [*separator, str(tmp_path / "nowhere"), str(tmp_path / "out"), "--progress", "json"]
    run = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert run.returncode == 2, run.stderr
    assert '"event": "error"' in run.stdout and "no folder" in run.stdout


def test_the_batch_script_ends_slicer_with_its_code(tmp_path: Path) -> None:
    """Inside Slicer, `sys.exit` is not how one leaves."""
    run = batch_in_slicer(SCRIPT, tmp_path)
    assert run.stdout.splitlines()[-1] == "slicer exits with 2"
    assert run.returncode == 0


def test_the_batch_script_ends_slicer_also_if_it_cannot_begin(tmp_path: Path) -> None:
    """An exception would leave Slicer running, and nobody would see it."""
    place = tmp_path / "without the package" / "NISFExtension"
    shutil.copytree(MODULE.parent, place, ignore=shutil.ignore_patterns("__pycache__"))
    run = batch_in_slicer(place / "Scripts" / SCRIPT.name, tmp_path, "-S")
    assert "NISFCore is missing" in run.stderr
    assert run.stdout.splitlines()[-1:] == ["slicer exits with 2"]


def batch_in_slicer(script: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The script where `import slicer` finds an application."""
    fake = folder / "slicer"
    fake.mkdir()
    (fake / "__init__.py").write_text(FAKE_SLICER)
    return subprocess.run(
        [sys.executable, *options, script, "--", "--nonsense"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
