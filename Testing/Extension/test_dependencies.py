"""What the worker needs: told, asked for, installed without touching anything else."""

import importlib.machinery
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from NISFLib import dependencies
from NISFLib.dependencies import (
    REQUIREMENTS,
    DependencyError,
    Requirement,
    check_slicer_own,
    constraint_lines,
    install,
    installed_version,
    missing_requirements,
    missing_text,
    question,
)
from Testing.conftest import REPOSITORY

BY_NAME = {r.package: r for r in REQUIREMENTS}
TORCH, RICH, NUMPY = BY_NAME["torch"], BY_NAME["rich"], BY_NAME["numpy"]


def test_requirements_are_those_of_the_package() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.split("\ndependencies = [")[1].split("]")[0]
    assert [str(r) for r in REQUIREMENTS] == re.findall(r'"(.+?)"', listed)


def test_modules_are_called_as_stated() -> None:
    for requirement in REQUIREMENTS:
        assert importlib.util.find_spec(requirement.module) is not None, requirement


def test_nothing_is_missing_where_the_tests_run() -> None:
    assert missing_requirements() == ()


@pytest.mark.parametrize(
    ("version", "is_missing"),
    [
        (None, True),
        ("2.8.9", True),
        ("2.9", False),
        ("2.9.0+cpu", False),
        ("2.10", False),
        ("10.0", False),
        ("2.9.0a1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str | None, is_missing: bool) -> None:
    def installed(requirement: Requirement) -> str | None:
        return version if requirement is TORCH else "999"

    assert missing_requirements(installed) == ((TORCH,) if is_missing else ())


def test_a_package_without_metadata_is_slicers_own() -> None:
    """Slicer's VTK is no pip package."""
    odd = Requirement("no-such-package-nisf", "7", "json", 0, "")
    assert installed_version(odd) == "7"
    assert installed_version(Requirement("no-such-nisf", "7", "no_such_nisf", 0, "")) is None


def test_the_user_reads_what_how_large_and_what_for() -> None:
    text = question([TORCH, RICH])
    assert "2 Python package(s), about 862 MB" in text
    assert "torch>=2.9 (about 850 MB): the fit" in text
    assert "not changed" in text and text.endswith("Install now?")
    assert missing_text([RICH]).splitlines()[1].strip().startswith("rich>=13.7")


def test_what_slicer_brings_is_never_replaced() -> None:
    check_slicer_own([TORCH, RICH])
    with pytest.raises(DependencyError, match=r"numpy>=1.26.*use Slicer 5.12 or later"):
        check_slicer_own([NUMPY, RICH])


def test_installed_packages_are_held_at_their_versions() -> None:
    lines = constraint_lines()
    assert f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert len(lines) > 20
    names = [line.split("==")[0].lower() for line in constraint_lines([RICH, BY_NAME["pynrrd"]])]
    assert "rich" not in names and "pynrrd" not in names and "numpy" in names


def test_what_pip_left_behind_is_no_constraint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that pip renamed and could not remove still has the metadata of the old version."""
    for folder, version in (("~oppler-0.9", "0.9"), ("doppler-1.2", "1.2")):
        (tmp_path / f"{folder}.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: doppler\nVersion: {version}\n"
        (tmp_path / f"{folder}.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    lines = [line for line in constraint_lines() if line.startswith("doppler")]
    assert lines == ["doppler==1.2"]


class Recorder:
    """Stands for pip and the PyTorch extension."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pip: list[str] = []
        self.torch: list[dict[str, Any]] = []
        self.torch_result: object = object()
        monkeypatch.setattr(dependencies, "_pip", self._pip)
        monkeypatch.setattr(dependencies, "missing_requirements", lambda: ())
        self._monkeypatch = monkeypatch

    def _pip(self, requirements: list[Requirement], constraints: Path) -> None:
        assert "numpy==" in constraints.read_text(encoding="utf-8")
        self.pip += [str(r) for r in requirements]

    def have_extension(self) -> None:
        recorder = self

        class PyTorchUtilsLogic:
            def installTorch(self, **options: Any) -> object:  # noqa: N802
                recorder.torch.append(options)
                return recorder.torch_result

        module = ModuleType("PyTorchUtils")
        module.__spec__ = importlib.machinery.ModuleSpec("PyTorchUtils", None)
        vars(module)["PyTorchUtilsLogic"] = PyTorchUtilsLogic
        self._monkeypatch.setitem(sys.modules, "PyTorchUtils", module)


def test_torch_comes_through_its_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    recorder.have_extension()
    install([TORCH, RICH])
    assert recorder.torch == [{"askConfirmation": False, "torchVersionRequirement": ">=2.9"}]
    assert recorder.pip == ["rich>=13.7"]
    recorder.torch_result = None
    with pytest.raises(DependencyError, match="PyTorch extension could not install torch"):
        install([TORCH])


def test_torch_comes_by_pip_without_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    install([TORCH, RICH])
    assert recorder.pip == ["torch>=2.9", "rich>=13.7"]


def test_a_failed_installation_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(requirements: object, constraints: object) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    Recorder(monkeypatch)
    monkeypatch.setattr(dependencies, "_pip", fail)
    with pytest.raises(DependencyError, match=r"the installation failed .*error log"):
        install([RICH])


def test_what_is_still_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch)
    monkeypatch.setattr(dependencies, "missing_requirements", lambda: (RICH,))
    with pytest.raises(DependencyError, match=r"still missing .*rich>=13.7"):
        install([RICH])


def test_finding_out_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from NISFLib.dependencies import missing_requirements\n"
        "missing_requirements()\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    environment = {"PYTHONPATH": f"{REPOSITORY / 'NISFExtension'}"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert not set(run.stdout.split()) & {"torch", "numpy", "slicer", "vtk", "vtkmodules"}
