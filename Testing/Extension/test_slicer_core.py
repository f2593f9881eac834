"""Says why the tests of the scene are missing, where they are."""

import pytest

from Testing.Harness.mrml import NO_SLICER, has_slicer, headless_slicer, no_vtk_errors


@pytest.mark.skipif(not has_slicer(), reason=NO_SLICER)
def test_there_is_a_scene() -> None:
    scene = headless_slicer().mrmlScene
    assert scene.GetNumberOfNodes() > 0
    assert headless_slicer().mrmlScene is scene


@pytest.mark.skipif(not has_slicer(), reason=NO_SLICER)
def test_errors_of_vtk_are_noticed() -> None:
    import vtk

    reader = vtk.vtkXMLPolyDataReader()
    with pytest.raises(AssertionError, match="ERROR"), no_vtk_errors():
        reader.Update()
    with no_vtk_errors():
        pass
