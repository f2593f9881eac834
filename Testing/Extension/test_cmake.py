"""What the Slicer Extensions Index reads of the top CMakeLists.txt."""

import re

from Testing.conftest import REPOSITORY

TEXT = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
FIELDS = dict(re.findall(r'^set\((EXTENSION_\w+)\s+"(.*)"\)$', TEXT, flags=re.MULTILINE))
INDEX_FIELDS = {
    "EXTENSION_HOMEPAGE",
    "EXTENSION_CONTRIBUTORS",
    "EXTENSION_DESCRIPTION",
    "EXTENSION_ICONURL",
    "EXTENSION_SCREENSHOTURLS",
    "EXTENSION_DEPENDS",
}


def test_all_fields_of_the_index_are_there() -> None:
    assert set(FIELDS) == INDEX_FIELDS


def test_the_description_is_plain_and_says_research_use() -> None:
    description = FIELDS["EXTENSION_DESCRIPTION"]
    assert "Research use only" in description
    assert not re.search(r'[<>;"\\$]', description)


def test_torch_comes_from_slicers_own_extension() -> None:
    assert FIELDS["EXTENSION_DEPENDS"] == "PyTorch"


def test_only_folders_that_exist_are_built() -> None:
    for folder in re.findall(r"^\s*add_subdirectory\((\w+)\)", TEXT, flags=re.MULTILINE):
        assert (REPOSITORY / folder / "CMakeLists.txt").is_file()
