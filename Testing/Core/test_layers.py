"""Imports go one way (see docs/architecture.md), and the vocabulary stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Core.source_tree import PACKAGE, SourceFile, imported_modules, source_files

VOCABULARY = (
    "",
    "_version",
    "config",
    "errors",
    "files",
    "function_names",
    "labels",
    "progress",
    "views",
)
LAYERS: tuple[tuple[str, ...], ...] = (
    VOCABULARY,
    ("geometry",),
    ("data", "phantom"),
    ("model", "evidence"),
    ("training", "fitting", "motion"),
    ("analysis",),
    ("export",),
    ("workflows", "motion_workflow"),
    ("batch", "benchmark", "serving"),
    (
        "console",
        "cli_options",
        "cli_benchmark",
        "cli_evidence",
        "cli_fit",
        "cli_motion",
        "cli_serve",
        "cli",
        "__main__",
    ),
)
"""From earlier to later; a part may import earlier layers, its own layer, and itself."""

RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
NEVER = {
    ("training", "fitting"),
    ("fitting", "training"),
    ("data", "phantom"),
}
"""Pairs (importer, imported) within one layer that must stay apart."""

GUI_PACKAGES = {"slicer", "qt", "ctk", "vtkSlicer", "PythonQt"}
HEAVY_MODULES = ("torch", "numpy", "scipy", "pydicom", "vtk", "skimage", "matplotlib", "rich")

FILES = source_files(PACKAGE)


def part_of(module: str) -> str:
    """First name below the package: "geometry" of "NISFCore.geometry.rigid"; "" for itself."""
    return [*module.split("."), ""][1]


def import_violation(importer: str, imported: str) -> str | None:
    """Why part `importer` may not import part `imported`; None if it may."""
    if importer == imported:
        return None
    if (importer, imported) in NEVER:
        return f"{importer} must never import {imported}"
    if RANK[imported] > RANK[importer]:
        return f"{imported} is a later layer than {importer}"
    return None


def own_imports(source: SourceFile) -> set[str]:
    """Parts of NISFCore that a file imports; `from NISFCore import __version__` is ""."""
    names = imported_modules(source.tree)
    own = {part_of(name) for name in names if name.split(".")[0] == PACKAGE}
    return {"" if part == "__version__" else part for part in own}


def root_modules(source: SourceFile) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in imported_modules(source.tree)}


def layer_problems(source: SourceFile) -> list[str]:
    """What is wrong with the imports of one file."""
    part, imported = part_of(source.module), own_imports(source)
    strange = sorted(({part} | imported) - set(RANK))
    if strange:
        return [f"{source.path}: {', '.join(strange)} is in no layer; add it to LAYERS"]
    violations = [import_violation(part, other) for other in sorted(imported)]
    return [f"{source.path}: {text}" for text in violations if text]


def test_the_package_was_found() -> None:
    modules = {f.module for f in FILES}
    assert {"NISFCore", "NISFCore.labels", "NISFCore.geometry.rigid"} <= modules


def test_every_file_imports_earlier_layers_only() -> None:
    assert [problem for source in FILES for problem in layer_problems(source)] == []


def test_imports_are_absolute() -> None:
    relative = [f.path for f in FILES if any(n.startswith(".") for n in imported_modules(f.tree))]
    assert relative == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("geometry", "data"),
        ("data", "phantom"),
        ("model", "training"),
        ("training", "fitting"),
        ("fitting", "training"),
        ("analysis", "export"),
        ("labels", "geometry"),
    ],
)
def test_the_rule_rejects_wrong_directions(importer: str, imported: str) -> None:
    assert import_violation(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("phantom", "data"), ("fitting", "model"), ("model", "data"), ("cli", "workflows")],
)
def test_the_rule_accepts_right_directions(importer: str, imported: str) -> None:
    assert import_violation(importer, imported) is None


def test_a_file_with_a_wrong_import_is_named() -> None:
    text = "from NISFCore.fitting.fit import fit_study\nimport NISFCore.surprise\n"
    wrong = SourceFile(Path("NISFCore/geometry/wrong.py"), text, ast.parse(text))
    assert layer_problems(wrong) == [
        f"{wrong.path}: surprise is in no layer; add it to LAYERS",
    ]
    text = "def f():\n    from NISFCore.fitting.fit import fit_study\n"
    late = SourceFile(Path("NISFCore/geometry/late.py"), text, ast.parse(text))
    assert layer_problems(late) == [f"{late.path}: fitting is a later layer than geometry"]


def test_nothing_imports_the_gui() -> None:
    assert {f.path for f in FILES if root_modules(f) & GUI_PACKAGES} == set()


def test_the_vocabulary_uses_the_standard_library_only() -> None:
    vocabulary = [f for f in FILES if part_of(f.module) in VOCABULARY]
    foreign = {f.path: root_modules(f) - sys.stdlib_module_names - {PACKAGE} for f in vocabulary}
    assert len(vocabulary) == len(VOCABULARY)
    assert [path for path, names in foreign.items() if names] == []


def loaded_by_importing(names: list[str], folder: Path) -> set[str]:
    """All modules that a fresh interpreter holds after importing some."""
    code = f"import {', '.join(names)}, sys; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(run.stdout.split())


def test_importing_the_vocabulary_loads_nothing_heavy(tmp_path: Path) -> None:
    names = [PACKAGE] + [f"{PACKAGE}.{part}" for part in VOCABULARY if part]
    loaded = loaded_by_importing(names, tmp_path)
    assert set(names) <= loaded
    assert not loaded & set(HEAVY_MODULES)


def test_a_fit_loads_no_plots_meshes_or_simulator(tmp_path: Path) -> None:
    """They would take as long as a third of it."""
    loaded = loaded_by_importing([f"{PACKAGE}.cli_fit", f"{PACKAGE}.workflows"], tmp_path)
    assert f"{PACKAGE}.fitting.fit" in loaded
    assert not loaded & {"matplotlib", "vtkmodules", f"{PACKAGE}.phantom"}
