"""Broken and odd studies, each with what a reader must make of it.

A case either yields slices, which are compared with the planes they were made of, or one clear
error. `ODD_STUDIES` maps a case's name to its builder; a builder writes into an empty folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from Testing.Core.generators.blob_heart import BlobHeart, Plane, blob_heart, usual_planes

HEART = blob_heart()


@dataclass(frozen=True)
class OddStudy:
    """Attributes:
    path: the input.
    planes: what must be found, in order; empty if an error is right.
    error: pattern of the message of the right error, or None.
    says: patterns, each of which must match a warning or a reason for leaving a plane out.
    intensities: true frames of a plane from its images, where they are not the same.
    lost_phases: by series, the phase that cannot be read.
    other_hearts: by series, the heart that it shows, if it is not `HEART`.
    select: examination to select.
    """

    path: Path
    planes: Sequence[Plane] = ()
    error: str | None = None
    says: Sequence[str] = ()
    intensities: Callable[[npt.NDArray[np.uint16]], npt.NDArray] = lambda images: images
    lost_phases: Mapping[int, int] = field(default_factory=dict)
    other_hearts: Mapping[int, BlobHeart] = field(default_factory=dict)
    select: str | None = None

    def expected_frames(self, plane: Plane) -> npt.NDArray[np.float32]:
        """What the reader must deliver for a plane, `(n_phases, rows, cols)`."""
        images = plane.images(self.other_hearts.get(plane.series, HEART))
        frames = self.intensities(images).astype(np.float32)
        return frames[self.kept_phases(plane)]

    def kept_phases(self, plane: Plane) -> list[int]:
        """Phases of a plane that can be read."""
        return [k for k in range(plane.n_phases) if k != self.lost_phases.get(plane.series)]


Builder = Callable[[Path], OddStudy]
ODD_STUDIES: dict[str, Builder] = {}


def odd_study(builder: Builder) -> Builder:
    """Register a case under the name of its function."""
    ODD_STUDIES[builder.__name__] = builder
    return builder


def usual() -> list[Plane]:
    return usual_planes(HEART)


def rotated_in_plane(plane: Plane) -> Plane:
    """The same plane with its image turned by 90°."""
    rows, cols = plane.shape
    return replace(
        plane,
        i_lps=plane.j_lps,
        j_lps=-plane.i_lps,
        shape=(cols, rows),
        spacing_mm=plane.spacing_mm[::-1],
    )


def seen_from_behind(plane: Plane) -> Plane:
    """The same plane with its normal turned round."""
    return replace(plane, i_lps=-plane.i_lps)
