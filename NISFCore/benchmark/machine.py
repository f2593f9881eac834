"""What a benchmark ran on: processor, memory, graphics card, versions. No host or user names."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from NISFCore._version import __version__

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pydicom", "vtk")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, graphics card and system."""
    return {
        "cpu": cpu_model(),
        "n_cores": n_usable_cores(),
        "n_threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str | None]:
    """Of Python, this software and what it computes with."""
    found = {"NISFCore": __version__, "python": platform.python_version()}
    return found | {name: _version(name) for name in PACKAGES}


def n_usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as the system knows it."""
    if sys.platform.startswith("linux"):
        text = _text_of(Path("/proc/cpuinfo"))
        names = [s.partition(":")[2].strip() for s in text.splitlines() if "model name" in s]
        return names[0] if names else platform.machine()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        return run.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def memory_gb() -> float | None:
    """Installed memory in GB (1e9 bytes), where the system says it."""
    if not hasattr(os, "sysconf"):
        return None
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return round(n_bytes / 1e9, 1)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
