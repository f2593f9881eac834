"""What the worker needs beyond Slicer's own Python, and how it comes there: only after a yes.

- What is missing is told by name and size before anything is downloaded.
- torch comes through the PyTorch extension where it is installed: it picks the build for the GPU.
- Packages that are installed already keep their versions: pip gets them all as constraints, and
  rather fails than replaces one. Packages that Slicer brings are never asked for. Only what is
  asked for because it is too old gets a newer version.
- Lowest versions only, no pins: other extensions live in the same Python.

Nothing is imported to find out: torch does not enter this process.
"""

import importlib.metadata
import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NISFCore.errors import NISFError

TORCH = "torch"
SLICER_OWN = frozenset({"numpy", "scipy", "vtk", "pydicom"})
"""Slicer brings these; one that is too old means that Slicer is."""

REQUESTER = "NISF"


class DependencyError(NISFError):
    """The worker cannot run with the packages that are there."""


@dataclass(frozen=True)
class Requirement:
    """A package of the worker.

    Attributes:
        package, floor: name and lowest version, as in `pyproject.toml`.
        module: what is imported.
        disk_mb: about what it and what only it needs take on the disk (Linux, CPython 3.11).
        purpose: what it is for.
    """

    package: str
    floor: str
    module: str
    disk_mb: int
    purpose: str

    def __str__(self) -> str:
        return f"{self.package}>={self.floor}"


REQUIREMENTS = (
    Requirement("torch", "2.9", "torch", 850, "the fit; up to 5000 MB with CUDA libraries"),
    Requirement("numpy", "1.26", "numpy", 71, "arrays"),
    Requirement("scipy", "1.11", "scipy", 143, "rotations, interpolation"),
    Requirement("pydicom", "3.0", "pydicom", 14, "reading DICOM"),
    Requirement("vtk", "9.3", "vtkmodules", 667, "surfaces"),
    Requirement("scikit-image", "0.22", "skimage", 53, "image comparison"),
    Requirement("safetensors", "0.4.3", "safetensors", 2, "prior and result files"),
    Requirement("nibabel", "5.2", "nibabel", 12, "NIfTI files"),
    Requirement("pynrrd", "1.0", "nrrd", 1, "NRRD files"),
    Requirement("matplotlib", "3.8", "matplotlib", 73, "pictures of the report"),
    Requirement("tyro", "0.9", "tyro", 2, "the worker's options"),
    Requirement("rich", "13.7", "rich", 12, "the worker's messages"),
)

InstalledVersion = Callable[[Requirement], str | None]


def installed_version(requirement: Requirement) -> str | None:
    """The version that is there; None where there is none. Nothing is imported.

    A package without metadata (Slicer's own VTK) counts as new enough: it is Slicer's.
    """
    try:
        return importlib.metadata.version(requirement.package)
    except importlib.metadata.PackageNotFoundError:
        there = importlib.util.find_spec(requirement.module) is not None
        return requirement.floor if there else None


def missing_requirements(
    installed: InstalledVersion = installed_version,
) -> tuple[Requirement, ...]:
    """What is not there, or too old."""
    return tuple(r for r in REQUIREMENTS if not _is_enough(installed(r), r.floor))


def missing_text(missing: Iterable[Requirement]) -> str:
    """What is missing, how large it is and what it is for, as lines."""
    missing = list(missing)
    lines = [f"  {r} (about {r.disk_mb} MB): {r.purpose}" for r in missing]
    total = sum(r.disk_mb for r in missing)
    return "\n".join(
        [f"NISF needs {len(missing)} Python package(s), about {total} MB on the disk:", *lines]
    )


def question(missing: Iterable[Requirement]) -> str:
    """What the user is asked before an installation."""
    return (
        f"{missing_text(missing)}\n\nThey are installed into Slicer's Python. Packages that are "
        "there already are not changed. Install now?"
    )


def check_slicer_own(missing: Iterable[Requirement]) -> None:
    """Refuse to replace what Slicer brings.

    Raises:
        DependencyError: if one of them is too old or missing.
    """
    own = [str(r) for r in missing if r.package in SLICER_OWN]
    if own:
        raise DependencyError(
            f"this Slicer's own Python packages are too old for NISF ({', '.join(own)}), and NISF "
            "does not replace them: use Slicer 5.12 or later"
        )


def install(missing: Iterable[Requirement]) -> None:
    """Install what is missing. Call it only after the user's yes.

    Raises:
        DependencyError: if that failed, or would replace something; the message says what to do.
    """
    missing = list(missing)
    check_slicer_own(missing)
    rest = [r for r in missing if r.package != TORCH]
    try:
        with tempfile.TemporaryDirectory(prefix="nisf-constraints-") as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(constraint_lines(missing)), encoding="utf-8")
            if len(rest) < len(missing) and not _install_torch_by_extension():
                rest = missing
            if rest:
                _pip(rest, constraints)
    except DependencyError:
        raise
    except Exception as error:  # pip, the network and the extension fail in many ways
        raise DependencyError(
            f"the installation failed ({error}); look at Slicer's error log. Nothing that was "
            "there has been changed"
        ) from error
    importlib.invalidate_caches()
    still = missing_requirements()
    if still:
        names = ", ".join(str(r) for r in still)
        raise DependencyError(f"still missing after the installation: {names}. Restart Slicer")


def constraint_lines(missing: Iterable[Requirement] = ()) -> list[str]:
    """Every installed package at its very version, as pip constraints, but those asked for.

    One version of each, that which is imported: pip can leave another one's metadata behind (on
    Windows, where files in use cannot be removed), and nothing fulfils two constraints at once.
    """
    asked = {_canonical(r.package) for r in missing}
    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    lines = []
    for name in sorted(name for name in names if name and _canonical(name) not in asked):
        with suppress(importlib.metadata.PackageNotFoundError):
            lines.append(f"{name}=={importlib.metadata.version(name)}")
    return lines


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install_torch_by_extension() -> bool:
    """Let the PyTorch extension install torch; False where that extension is not."""
    if importlib.util.find_spec("PyTorchUtils") is None:
        return False
    import PyTorchUtils  # type: ignore[import-not-found,unused-ignore]

    floor = next(r.floor for r in REQUIREMENTS if r.package == TORCH)
    logic: Any = PyTorchUtils.PyTorchUtilsLogic()
    # the user has just said yes to it
    torch = logic.installTorch(askConfirmation=False, torchVersionRequirement=f">={floor}")
    if torch is None:
        raise DependencyError(
            "the PyTorch extension could not install torch; install it there (module PyTorch "
            "Utils), then try again"
        )
    return True


def _pip(requirements: Iterable[Requirement], constraints: Path) -> None:
    """Slicer's own installer, with its progress dialog."""
    import slicer.packaging  # type: ignore[import-not-found,unused-ignore]
    from packaging.requirements import Requirement as PipRequirement

    slicer.packaging.pip_ensure(
        [PipRequirement(str(r)) for r in requirements],
        constraints=constraints,
        prompt_install=False,
        requester=REQUESTER,
    )


def _is_enough(version: str | None, floor: str) -> bool:
    return version is not None and _numbers(version) >= _numbers(floor)


def _numbers(version: str) -> tuple[int, ...]:
    """Release numbers without trailing zeros: 3.0 is as good as 3.0.0."""
    found = [int(n) for n in re.findall(r"\d+", re.split(r"[+a-z]", version)[0])]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)
