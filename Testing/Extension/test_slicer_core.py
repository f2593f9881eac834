"""Says why the tests of the scene are missing, where they are."""

import pytest

from Testing.Harness.mrml import NO_SLICER, has_slicer, headless_slicer


@pytest.mark.skipif(not has_slicer(), reason=NO_SLICER)
def test_there_is_a_scene() -> None:
    scene = headless_slicer().mrmlScene
    assert scene.GetNumberOfNodes() > 0
    assert headless_slicer().mrmlScene is scene
