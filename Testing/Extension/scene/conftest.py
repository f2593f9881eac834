"""An empty scene for every test, and small folders as `nisf` writes them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from Testing.Extension.scene.folders import Folders, make_folders
from Testing.Harness.mrml import clear_scene, has_slicer, headless_slicer, no_vtk_errors

if TYPE_CHECKING:
    from NISFLib.scene import HeartScene

collect_ignore_glob = [] if has_slicer() else ["test_*.py"]


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    """The application's scene, empty; VTK's errors fail the test."""
    slicer = headless_slicer()
    clear_scene()
    with no_vtk_errors():
        yield slicer.mrmlScene
        clear_scene()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A study's slices and a result's export of the analytic heart."""
    return make_folders(tmp_path_factory.mktemp("Hérz ♥ scene"))


@pytest.fixture
def heart(folders: Folders) -> "HeartScene":
    """The result in the scene, with the full images of its study."""
    from NISFLib.scene import HeartScene

    heart = HeartScene()
    heart.load_result(folders.result, study=folders.study)
    return heart
