"""Slice views and 3D views without a window: MRML's own displayable managers, rendered off screen.

What they show is what the same managers show in 3D Slicer's views; menus, layouts and view
controllers are not there. VTK chooses how it renders (EGL or OSMesa); no X server is needed.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from Testing.Harness.mrml import application_logic

Picture = npt.NDArray[np.uint8]
"""`(height, width, 3)`."""

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
VIEW_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLColorLegendDisplayableManager",
)


class OffscreenView:
    """What both kinds of view share: a window that is never shown, and displayable managers."""

    node: Any

    def __init__(self, size: tuple[int, int], factory: Any, managers: tuple[str, ...]) -> None:
        self.renderer, self.window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        # the 3D view stays empty with multi-sampling, or without alpha bits
        self.window.SetMultiSamples(0)
        self.window.SetAlphaBitPlanes(1)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        self._interactor.Initialize()
        factory.SetMRMLApplicationLogic(application_logic())
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self.renderer)
        self._group.Initialize(factory, self.renderer)

    def close(self) -> None:
        """Take the view out of the scene: its node is a singleton, which a cleared scene keeps."""
        self._group.SetMRMLDisplayableNode(None)
        slicer.mrmlScene.RemoveNode(self.node)
        self.window.Finalize()

    def picture(self) -> Picture:
        """What the view shows now."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
        return np.ascontiguousarray(values[::-1, :, :3])


class OffscreenSliceView(OffscreenView):
    """A slice view, known by its layout name ("Red")."""

    def __init__(self, name: str, size: tuple[int, int] = (480, 480)) -> None:
        kind = slicer.vtkMRMLSliceViewDisplayableManagerFactory
        super().__init__(size, kind.GetInstance(), SLICE_MANAGERS)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        application = application_logic()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddSliceNode(name)
        self.logic.ResizeSliceNode(*size)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._actor)
        self._group.SetMRMLDisplayableNode(self.node)

    def close(self) -> None:
        """See `OffscreenView.close`."""
        composite = self.logic.GetSliceCompositeNode()
        application_logic().GetSliceLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        slicer.mrmlScene.RemoveNode(composite)
        super().close()

    def picture(self) -> Picture:
        """What the view shows now."""
        self.logic.UpdatePipeline()
        image = self.logic.GetImageDataConnection()
        self._actor.SetVisibility(image is not None)
        if image is not None:
            self._mapper.SetInputConnection(image)
        return super().picture()


class OffscreenThreeDView(OffscreenView):
    """A 3D view with an empty, dark background."""

    def __init__(self, name: str = "1", size: tuple[int, int] = (480, 480)) -> None:
        kind = slicer.vtkMRMLThreeDViewDisplayableManagerFactory
        super().__init__(size, kind.GetInstance(), VIEW_MANAGERS)
        application = application_logic()
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddViewNode(name)
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.node.SetBackgroundColor(0.07, 0.08, 0.1)
        self.node.SetBackgroundColor2(0.16, 0.18, 0.22)
        self.node.SetUseDepthPeeling(True)
        self.renderer.SetUseDepthPeeling(True)
        self._group.SetMRMLDisplayableNode(self.node)

    def look(
        self,
        centre: npt.ArrayLike,
        direction: npt.ArrayLike,
        distance_mm: float = 330.0,
        angle_deg: float = 30.0,
    ) -> None:
        """Look at a point (RAS mm) from a direction, superior up."""
        along = np.asarray(direction, dtype=np.float64)
        eye = np.asarray(centre) + distance_mm * along / np.linalg.norm(along)
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(*np.asarray(centre, dtype=np.float64))
        camera.SetPosition(*eye)
        camera.SetViewUp(0, 0, 1)
        camera.SetViewAngle(angle_deg)
        self.renderer.ResetCameraClippingRange()

    def close(self) -> None:
        """See `OffscreenView.close`."""
        application_logic().GetViewLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        super().close()
