"""Pictures of the panel for the tutorial, from a study that is read and fitted by real workers.

    python -m Testing.Harness.panel_pictures STUDY Resources/Screenshots

The panel is drawn by PySide6, off screen, with the harness's stand-ins for Slicer's own widgets
(collapsible buttons, sliders, path fields): in Slicer they look like Slicer's.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from Testing.Harness import slicer_app

MODULE = Path(__file__).resolve().parents[2] / "NISFExtension" / "NISF.py"
WIDTH = 520
SECTIONS = (
    "loadSection",
    "fitSection",
    "alignSection",
    "heartSection",
    "refitSection",
    "motionSection",
    "exportSection",
    "batchSection",
)


class Photographer:
    """Opens the panel, and takes a picture of one section of it at a time."""

    def __init__(self, out: Path) -> None:
        self._out = out
        out.mkdir(parents=True, exist_ok=True)
        self._slicer = slicer_app.start()
        widget = slicer_app.open_module(MODULE)
        self.panel: Any = widget.panel
        self._window = widget.parent
        self._window.resize(WIDTH, 1400)
        self._window.show()

    def breathe(self, seconds: float = 0.2) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._slicer.app.processEvents()
            time.sleep(0.005)

    def wait(self, until: Any = None) -> None:
        """Until nothing runs any more, or something holds."""
        while self.panel.controller.runner.is_busy and not (until and until()):
            self.breathe(0.02)

    def take(self, name: str, *sections: str) -> None:
        """A picture with these sections open, without the empty space below."""
        for section in SECTIONS:
            getattr(self.panel.ui, section).collapsed = section not in sections
        self.breathe()
        self._window.resize(WIDTH, self._window.minimumSizeHint().height())
        self.breathe()
        ui = self.panel.ui
        last = ui.batchSection
        bottom = last.mapTo(self._window, last.rect().bottomLeft()).y()
        picture = self._window.grab()
        picture.copy(0, 0, picture.width(), bottom + 12).save(str(self._out / f"{name}.png"))

    def close(self) -> None:
        self.panel.close()


def main(arguments: list[str]) -> None:
    """Read, fit, and take the pictures on the way."""
    parser = argparse.ArgumentParser(description="Pictures of the panel for the tutorial.")
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    photographer = Photographer(options.out)
    panel = photographer.panel
    panel.open_study(options.study)
    photographer.wait()
    photographer.breathe()  # the panel looks at the new nodes a moment later, and shows all anew
    path = panel.ui.inputPath
    path.comboBox().blockSignals(True)
    path.setCurrentPath(f"/studies/{options.study.name}")  # nobody's folders in a picture
    photographer.take("panel-load", "loadSection")
    path.setCurrentPath(str(options.study))
    path.comboBox().blockSignals(False)
    panel.ui.fitButton.click()
    photographer.wait(lambda: "PSNR" in panel.ui.statusLabel.text)
    photographer.take("panel-fit", "fitSection")
    photographer.wait()
    if not panel.heart.has_result:
        sys.exit(panel.ui.statusLabel.text)
    photographer.take("panel-alignment", "alignSection")
    panel.ui.esButton.click()
    photographer.take("panel-heart", "heartSection")
    photographer.take("panel-export", "exportSection")
    panel.ui.fitMotionButton.click()
    photographer.wait()
    if panel.heart.motion is None:
        sys.exit(panel.ui.statusLabel.text)
    photographer.take("panel-motion", "motionSection")
    panel.ui.annotateSliceButton.click()
    panel.ui.edButton.click()
    panel.ui.annotateSliceButton.click()
    panel.ui.refitButton.click()
    photographer.wait()
    photographer.take("panel-refit", "refitSection")
    photographer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
