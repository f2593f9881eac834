"""The scene side: MRML nodes of one heart, made from the files that `nisf` wrote (README.md)."""

from NISFLib.scene.annotations import SceneAnnotation, WrittenAnnotation
from NISFLib.scene.cine_input import write_cine_input
from NISFLib.scene.cycle import n_hearts
from NISFLib.scene.estimates import (
    SceneEstimate,
    estimate_grid,
    estimate_load,
    free_memory_bytes,
)
from NISFLib.scene.files import SceneFormat, save_bundle, save_files
from NISFLib.scene.heart import edit_segmentation
from NISFLib.scene.heart_scene import HeartScene
from NISFLib.scene.loading import LoadProgress, LoadSettings
from NISFLib.scene.motion import SceneMotion
from NISFLib.scene.motion_folder import Strain
from NISFLib.scene.nodes import SceneError
from NISFLib.scene.parts import Part
from NISFLib.scene.plots import ProfilePair
from NISFLib.scene.slices import SceneSlice

__all__ = [
    "HeartScene",
    "LoadProgress",
    "LoadSettings",
    "Part",
    "ProfilePair",
    "SceneAnnotation",
    "SceneError",
    "SceneEstimate",
    "SceneFormat",
    "SceneMotion",
    "SceneSlice",
    "Strain",
    "WrittenAnnotation",
    "edit_segmentation",
    "estimate_grid",
    "estimate_load",
    "free_memory_bytes",
    "n_hearts",
    "save_bundle",
    "save_files",
    "write_cine_input",
]
