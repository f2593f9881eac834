"""What Slicer's build and the Extensions Index read: CMake files, the index entry, the icon."""

import json
import re
import struct
from pathlib import Path

import pytest

from Testing.conftest import REPOSITORY

TEXT = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
MODULE = REPOSITORY / "NISFExtension"
MODULE_TEXT = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
FIELDS = dict(re.findall(r'^set\((EXTENSION_\w+)\s+"(.*)"\)$', TEXT, flags=re.MULTILINE))
INDEX_FIELDS = {
    "EXTENSION_HOMEPAGE",
    "EXTENSION_CONTRIBUTORS",
    "EXTENSION_DESCRIPTION",
    "EXTENSION_ICONURL",
    "EXTENSION_SCREENSHOTURLS",
    "EXTENSION_DEPENDS",
}
ICONS = (REPOSITORY / "Resources" / "NISF.png", MODULE / "Resources" / "Icons" / "NISF.png")
CATALOG_KEYS = {
    "$schema",
    "build_dependencies",
    "build_subdirectory",
    "category",
    "scm_revision",
    "scm_type",
    "scm_url",
    "tier",
}
"""All that schema v1.0.1 allows and we use."""


def listed(variable: str) -> list[str]:
    """The files of one list of the module's CMakeLists.txt."""
    found = re.search(rf"set\({variable}\n(.*?)\n\)", MODULE_TEXT, flags=re.DOTALL)
    assert found is not None
    return found.group(1).split()


def there(folder: Path, pattern: str) -> list[str]:
    files = [p for p in folder.rglob(pattern) if p.is_file() and "__pycache__" not in p.parts]
    return [p.relative_to(MODULE).as_posix() for p in files]


def test_all_fields_of_the_index_are_there() -> None:
    assert set(FIELDS) == INDEX_FIELDS


def test_the_description_is_plain_and_says_research_use() -> None:
    description = FIELDS["EXTENSION_DESCRIPTION"]
    assert "Research use only" in description
    assert not re.search(r'[<>;"\\$]', description)


def test_torch_comes_from_slicers_own_extension() -> None:
    assert FIELDS["EXTENSION_DEPENDS"] == "PyTorch"


def test_the_languages_of_slicers_own_checks_are_enabled() -> None:
    """Without C++, its check of the platform stops with an error on Windows, and ITK's fail."""
    assert re.findall(r"^project\((.*)\)$", TEXT, flags=re.MULTILINE) == ["NISF"]


def test_the_module_is_built() -> None:
    folders = re.findall(r"^\s*add_subdirectory\((\w+)\)", TEXT, flags=re.MULTILINE)
    assert folders == ["NISFExtension"]


def test_every_file_of_the_module_is_listed_once() -> None:
    scripts, resources = listed("MODULE_PYTHON_SCRIPTS"), listed("MODULE_PYTHON_RESOURCES")
    assert sorted(scripts) == sorted(there(MODULE, "*.py"))
    assert sorted(resources) == sorted(there(MODULE / "Resources", "*"))
    assert scripts[0] == "NISF.py"


def test_the_self_test_is_registered() -> None:
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in MODULE_TEXT
    assert "WITH_GENERIC_TESTS" in MODULE_TEXT


@pytest.mark.parametrize("suffix", ["py", "safetensors", "md"])
def test_the_package_is_taken_whole(suffix: str) -> None:
    """What the worker needs at run time is matched by a pattern of the top CMakeLists.txt."""
    patterns = re.findall(r"NISFCore/[\w*/]*\*\.\w+", TEXT)
    package = REPOSITORY / "NISFCore"
    files = [p for p in package.rglob(f"*.{suffix}") if "__pycache__" not in p.parts]
    recursive = re.search(r"GLOB_RECURSE[^)]*NISFCore/\*\.py", TEXT) is not None
    assert files and recursive
    for file in files:
        place = file.relative_to(REPOSITORY)
        assert suffix == "py" or any(place.match(pattern) for pattern in patterns), place


def test_the_entry_of_the_extensions_index() -> None:
    entry = json.loads((REPOSITORY / "Resources" / "NISF.json").read_text(encoding="utf-8"))
    assert set(entry) == CATALOG_KEYS
    assert entry["build_dependencies"] == [FIELDS["EXTENSION_DEPENDS"]]
    assert entry["scm_url"].endswith(".git")


def test_the_icons_have_128_pixels_and_are_alike() -> None:
    first, second = (icon.read_bytes() for icon in ICONS)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert struct.unpack(">II", first[16:24]) == (128, 128)
