"""Pictures of the scene for documents and the Extensions Index, rendered without a window.

    python -m Testing.Harness.screenshots EXPORT [--study STUDY] [--motion MOTION] [--out FOLDER]

EXPORT is what `nisf export` wrote (formats seq.nrrd, slices, vtp, tables), STUDY what
`nisf inspect --slices` wrote, MOTION what `nisf motion fit` wrote. The committed pictures are of
a simulated study; how they were made is in docs/slicer-scene.md. The views are those of 3D
Slicer's own displayable managers; frames and captions around them, and the plots, are drawn here.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from Testing.Harness.mrml import extension_on_path, headless_slicer

FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots"


def main(arguments: Sequence[str]) -> None:
    """Render everything; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    headless_slicer()
    extension_on_path()
    from Testing.Harness.scene_pictures import render

    render(options.export, options.study, options.motion, options.out)


if __name__ == "__main__":
    main(sys.argv[1:])
