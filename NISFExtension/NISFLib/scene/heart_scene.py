"""`HeartScene`: what the panel, the tests and scripts call. It keeps nothing but the scene."""

from pathlib import Path
from typing import Any

from NISFLib.scene import (
    annotations,
    certainty,
    loading,
    motion,
    parts,
    plots,
    slices,
    tables,
    updating,
    views,
)
from NISFLib.scene.annotations import SceneAnnotation, WrittenAnnotation
from NISFLib.scene.cycle import ED_PHASE, ES_PHASE, FRACTIONS, description, drive_again, now_of
from NISFLib.scene.loading import NOTES, SUBJECT, LoadProgress, LoadSettings
from NISFLib.scene.motion import SceneMotion
from NISFLib.scene.motion_folder import Strain
from NISFLib.scene.nodes import SLICE, Nodes, Role, default_scene
from NISFLib.scene.parts import Part
from NISFLib.scene.plots import ProfilePair
from NISFLib.scene.slices import SceneSlice


class HeartScene:
    """The heart of a scene: load it, scrub it, align it, look at it."""

    def __init__(self, scene: Any = None) -> None:
        """
        Args:
            scene: vtkMRMLScene; by default the application's.
        """
        self._scene = scene

    @property
    def nodes(self) -> Nodes:
        """The nodes of ours."""
        return Nodes(default_scene() if self._scene is None else self._scene)

    # Loading

    def load_study(self, folder: Path, progress: LoadProgress | None = None) -> None:
        """Show the slices of a folder that `nisf inspect --slices` wrote.

        Raises:
            SceneError: if it cannot be read; the scene is as it was then.
        """
        loading.load_study(self.nodes, folder, progress)
        annotations.attach(self.nodes)

    def load_result(
        self,
        folder: Path,
        study: Path | None = None,
        settings: LoadSettings | None = None,
        progress: LoadProgress | None = None,
    ) -> None:
        """Show a heart that `nisf export` wrote (formats seq.nrrd, slices, tables, vtp), aligned,
        at end-diastole.

        Args:
            study: the folder of `load_study`: its slices have their full images. Without it, or
                if it is another study's, slices come cropped from the export.
            settings: what is shown; None is the default.

        Raises:
            SceneError: if it cannot be read; the scene is as it was then.
        """
        result = loading.load_result(self.nodes, folder, study, settings, progress)
        annotations.attach(self.nodes)
        self.alignment = 1.0
        self.phase = result.ed_phase or 0

    def update_result(self, folder: Path, progress: LoadProgress | None = None) -> None:
        """Show a refitted heart in the place of the present one: the phases that `nisf export`
        wrote (formats seq.nrrd, slices, tables), all motions and figures. Views, phase, alignment
        and annotations stay.

        Raises:
            SceneError: if it cannot be read, or there is no heart; the scene is as it was then.
        """
        updating.update_result(self.nodes, folder, progress)
        views.follow_slices(self.nodes)

    def remove(self) -> None:
        """Take everything of ours out of the scene, but for annotations."""
        self.nodes.remove()

    def restore(self) -> None:
        """After a scene was loaded, or nodes were deleted: textures again, and a new browser if
        only that is gone. Harmless at any time."""
        nodes = self.nodes
        for role in (Role.SLICE_PLANE, Role.SLICE_MOTION):
            for node in nodes.all(role):
                if nodes.one(Role.SLICE_IMAGES, node.GetAttribute(SLICE)) is None:
                    nodes.remove_node(node)
        drive_again(nodes)
        plots.connect_cursor(nodes)
        slices.connect_textures(nodes)
        annotations.attach(nodes)

    # State

    @property
    def has_study(self) -> bool:
        """Whether there are slices."""
        return self.browser is not None and self.nodes.one(Role.SLICE_IMAGES) is not None

    @property
    def has_result(self) -> bool:
        """Whether there is a heart."""
        return self.browser is not None and self.nodes.one(Role.FUNCTION_TABLE) is not None

    @property
    def subject(self) -> str:
        """The pseudonym of the study, empty before there is one."""
        return str(description(self.nodes, SUBJECT, ""))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the study."""
        return tuple(description(self.nodes, NOTES, []))

    # Time

    @property
    def browser(self) -> Any:
        """The vtkMRMLSequenceBrowserNode that drives everything, or None."""
        return self.nodes.one(Role.BROWSER)

    @property
    def cycle_fractions(self) -> tuple[float, ...]:
        """The times of the phases, in [0, 1)."""
        return tuple(description(self.nodes, FRACTIONS, []))

    @property
    def n_phases(self) -> int:
        """Number of phases that can be shown, 0 without a study."""
        return len(self.cycle_fractions)

    @property
    def phase(self) -> int:
        """The phase that is shown, 0 without a study."""
        browser = self.browser
        return 0 if browser is None else max(0, browser.GetSelectedItemNumber())

    @phase.setter
    def phase(self, index: int) -> None:
        if self.browser is not None and self.n_phases:
            self.browser.SetSelectedItemNumber(min(max(int(index), 0), self.n_phases - 1))

    @property
    def ed_phase(self) -> int | None:
        """End-diastole among the phases; None before a result or if it was not exported."""
        value = description(self.nodes, ED_PHASE)
        return None if value is None else int(value)

    @property
    def es_phase(self) -> int | None:
        """End-systole among the phases; None before a result or if it was not exported."""
        value = description(self.nodes, ES_PHASE)
        return None if value is None else int(value)

    @property
    def playing(self) -> bool:
        """Whether the heart beats: the application's timer advances the browser."""
        return self.browser is not None and bool(self.browser.GetPlaybackActive())

    @playing.setter
    def playing(self, on: bool) -> None:
        if self.browser is not None:
            self.browser.SetPlaybackActive(on)

    # Slices

    @property
    def slices(self) -> tuple[SceneSlice, ...]:
        """The slices in the scene."""
        return slices.scene_slices(self.nodes)

    @property
    def alignment(self) -> float:
        """How far slices are moved: 0 as scanned, 1 aligned."""
        return slices.alignment(self.nodes)

    @alignment.setter
    def alignment(self, amount: float) -> None:
        slices.set_alignment(self.nodes, amount)
        views.follow_slices(self.nodes)

    def show_slice(self, name: str, view: str = "Red") -> None:
        """Show a slice in a slice view; it follows the alignment.

        Raises:
            SceneError: if the scene has no such slice or view.
        """
        views.show_slice(self.nodes, name, view)

    def arrange_views(self) -> None:
        """Red: a middle short-axis slice, Green: 4-chamber, Yellow: 2-chamber; and 3D."""
        views.arrange(self.nodes)

    @property
    def slice_shown(self) -> str:
        """The slice that the red view follows, else the first one; empty without slices."""
        names = [s.name for s in self.slices]
        shown = views.slice_shown(self.nodes, "Red")
        return shown if shown in names else (names[0] if names else "")

    def frame_shown(self, slice_name: str) -> tuple[int, int]:
        """Which frame of a slice the present phase shows, from 0, and of how many.

        Raises:
            SceneError: if there is no such slice.
        """
        return annotations.frame_shown(self.nodes, slice_name)

    def phase_of_frame(self, slice_name: str, frame: int) -> int:
        """A phase that shows a frame of a slice, or comes nearest to it."""
        return annotations.phase_of_frame(self.nodes, slice_name, frame)

    # Annotations: what the user draws on slices, to guide a refit

    @property
    def annotations(self) -> tuple[SceneAnnotation, ...]:
        """Everything that was drawn, in the order in which it was begun."""
        return annotations.annotations(self.nodes)

    def annotate(self, slice_name: str, from_fit: bool = True, complete: bool = True) -> Any:
        """The vtkMRMLSegmentationNode to paint in, of a slice at the present phase: that which is
        there, else a new one, which begins with the fit's labels or with nothing.

        Args:
            complete: what is not painted is background; else it is unknown.

        Raises:
            SceneError: if there is no such slice, or no fit to begin with.
        """
        return annotations.annotate(self.nodes, slice_name, from_fit, complete)

    def place_valve(self, slice_name: str) -> Any:
        """The vtkMRMLMarkupsLineNode between the valve's hinges in a long-axis slice.

        Raises:
            SceneError: if there is no fit, or no valve to be seen at this phase.
        """
        return annotations.place_valve(self.nodes, slice_name)

    def annotation_node(self, node_id: str) -> Any:
        """The node of an annotation.

        Raises:
            SceneError: if it is not there any more.
        """
        return annotations.annotation_node(self.nodes, node_id)

    def edit_annotation(self, node: Any) -> bool:
        """Give an annotation and its slice to the Segment Editor; False where there is none."""
        return annotations.edit(self.nodes, node)

    def include_annotation(self, node_id: str, on: bool) -> None:
        """Let refits use an annotation, or not; it stays as it is."""
        annotations.set_included(self.nodes, node_id, on)

    def complete_annotation(self, node_id: str, on: bool) -> None:
        """Whether what is not painted is background (else it is unknown)."""
        annotations.set_complete(self.nodes, node_id, on)

    def remove_annotation(self, node_id: str) -> None:
        """Delete an annotation."""
        annotations.remove(self.nodes, node_id)

    def write_annotations(self, folder: Path) -> list[WrittenAnnotation]:
        """Write those that refits use, each as a `.seg.nrrd` of its slice as scanned.

        Raises:
            SceneError: if a file cannot be written.
        """
        return annotations.write_annotations(self.nodes, folder)

    def follow_annotations(self) -> None:
        """Show the annotations of the present phase only."""
        annotations.follow_phase(self.nodes)

    def show_certainty(self, path: Path) -> None:
        """Overlay the slice views with a map of how sure labels are, of the present phase.

        Raises:
            SceneError: if it cannot be read.
        """
        certainty.show(self.nodes, path)

    @property
    def shows_certainty(self) -> bool:
        """Whether there is such a map."""
        return self.nodes.one(Role.CERTAINTY) is not None

    def hide_certainty(self) -> None:
        """Take the map away."""
        certainty.hide(self.nodes)

    # Cardiac motion: displacement of the LV wall and its strain

    def load_motion(self, folder: Path, progress: LoadProgress | None = None) -> None:
        """Show what `nisf motion fit` wrote, in the place of the labels' surfaces.

        Raises:
            SceneError: if it cannot be read, or there is no heart; the scene is as it was then.
        """
        motion.load(self.nodes, folder, progress)
        self.set_visible(Part.SURFACES, False)

    @property
    def motion(self) -> SceneMotion | None:
        """The motion that the scene shows, None without one."""
        return motion.scene_motion(self.nodes)

    def color_wall(self, direction: Strain) -> None:
        """Colour the wall, and plot its segments, by strain in a direction.

        Raises:
            SceneError: if it is not known.
        """
        motion.color_by(self.nodes, direction)

    @property
    def strain_chart(self) -> Any:
        """The plot chart node of the whole wall's strain, or None."""
        return self.nodes.one(Role.STRAIN_CHART)

    @property
    def segment_chart(self) -> Any:
        """The plot chart node of the segments' strain in the wall's direction, or None."""
        return self.nodes.one(Role.SEGMENT_CHART)

    # What is shown

    def visible(self, part: Part) -> bool:
        """Whether a part is shown; False if there is none."""
        return parts.visible(self.nodes, part)

    def set_visible(self, part: Part, on: bool) -> None:
        """Show or hide a part; nothing happens if there is none."""
        parts.set_visible(self.nodes, part, on)

    @property
    def segmentation(self) -> Any:
        """The vtkMRMLSegmentationNode of the current phase, or None. What is painted in it stays
        with its phase."""
        return now_of(self.nodes, Role.SEGMENTATION)

    # Figures

    @property
    def figures(self) -> dict[str, float]:
        """EDV, ESV, SV, EF, mass and so on, by key; empty before a result."""
        return tables.figures(self.nodes)

    @property
    def figure_errors(self) -> dict[str, float]:
        """Standard errors of the figures, as far as the fit gave them."""
        return tables.figure_errors(self.nodes)

    @property
    def function_table(self) -> Any:
        """The table node of the figures, or None."""
        return self.nodes.one(Role.FUNCTION_TABLE)

    @property
    def motion_table(self) -> Any:
        """The table node of the slice motions, or None."""
        return self.nodes.one(Role.MOTION_TABLE)

    @property
    def curve_chart(self) -> Any:
        """The plot chart node of the volume-time curve, or None."""
        return self.nodes.one(Role.CURVE_CHART)

    @property
    def profile_chart(self) -> Any:
        """The plot chart node of the profile that is shown, or None."""
        return self.nodes.one(Role.PROFILE_CHART)

    @property
    def profile_pairs(self) -> tuple[ProfilePair, ...]:
        """Pairs of crossing slices, those first that agreed least before alignment."""
        return plots.profile_pairs(self.nodes)

    def show_profile(self, index: int) -> None:
        """Plot the profile of a pair.

        Raises:
            SceneError: if there is no such pair.
        """
        plots.show_profile(self.nodes, index)
