"""What the panel shows of the controller's state."""

from dataclasses import dataclass

PARTLY = "Some phases are still those before the refit: refit again to see it all."
SEVERAL = (
    "The scene holds several hearts, of which only the first is shown and fitted here: close the "
    "scene, then open the one that you want."
)
WELCOME = "Choose a study and read it."


@dataclass(frozen=True)
class PanelState:
    """What the panel shows of its state. A `why_not_...` is empty where the action is possible.

    Attributes:
        status: one line; `is_error` if it tells of a failure.
        fraction: of the current stage, None if nothing runs or it is unknown.
    """

    status: str
    is_error: bool
    is_busy: bool
    fraction: float | None
    why_not_read: str
    why_not_fit: str
    why_not_export: str
    why_not_annotate: str = ""
    why_not_refit: str = ""
    why_not_ask: str = ""
    why_not_fit_motion: str = ""
