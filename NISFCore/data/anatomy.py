"""Where a heart lies, from labels that somebody gave or from what a user says of the images.

Without long-axis views or without the patient's orientation (some NIfTI conversions lose it) the
planes alone do not say on which side the RV is and which end of the stack is the base. The images'
likelihood does not tell either: it chose wrongly in 6 of 7 real stacks. So it is asked for.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import ConfigError
from NISFCore.geometry.frame import NO_HINT, AnatomyHint
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points
from NISFCore.labels import FOREGROUND, Label
from NISFCore.views import IMAGE_SIDES, ImageSide, View

MIN_POOL_CM2 = 1.0
"""A smaller pool's centroid says nothing."""

MIN_OFF_CENTRE = 0.02
"""By which share of the labelled sections' extent their centroid must lie off the middle, so that
this side is called the base; two sections of areas 1 and 1.1 have 0.024."""


@dataclass(frozen=True)
class GivenOrientation:
    """What a user says of the short-axis images.

    Attributes:
        rv_side: where the RV lies from the LV, as the image is displayed.
        base_slice: name of the SA slice at the end of the stack where the base is.
    """

    rv_side: ImageSide | None = None
    base_slice: str | None = None

    def hint_for(self, study: CineStudy) -> AnatomyHint:
        """The same in RAS.

        Raises:
            ConfigError: if there are no SA slices, or the base is none of the stack's two ends.
        """
        if self == GivenOrientation():
            return NO_HINT
        stack = study.of_view(View.SA)
        if not stack:
            raise ConfigError("rv-side, base-slice: the study has no short-axis slices")
        rv = None if self.rv_side is None else side_direction_ras(stack[0], self.rv_side)
        base = None if self.base_slice is None else _towards(stack, self.base_slice)
        return AnatomyHint("the user", rv, base)


def side_direction_ras(cine: CineSlice, side: ImageSide) -> Points:
    """Unit vector `(3,)` towards a side of the image."""
    angle = np.deg2rad(45.0 * IMAGE_SIDES.index(side))
    i, j = (cine.ras_from_ijk[:3, k] / cine.spacing_mm[k] for k in range(2))
    return np.asarray(np.cos(angle) * i + np.sin(angle) * j, dtype=np.float64)


def nearest_side(cine: CineSlice, direction_ras: Points) -> ImageSide:
    """The side of the image that a direction points to."""
    return max(IMAGE_SIDES, key=lambda side: float(side_direction_ras(cine, side) @ direction_ras))


def _towards(stack: tuple[CineSlice, ...], base_slice: str) -> Points:
    ends = stack[0], stack[-1]
    names = [s.name for s in ends]
    if base_slice not in names or len(stack) < 2:
        raise ConfigError(
            f"base-slice: got {base_slice!r}; allowed: {' or '.join(names)}, the ends of a stack "
            "of at least two slices"
        )
    base, apex = ends if base_slice == names[0] else ends[::-1]
    return np.asarray(base.centre_ras - apex.centre_ras, dtype=np.float64)


@dataclass(frozen=True)
class _Section:
    """A labelled SA frame: centroids `(3,)` of the pools in RAS, and the heart's area."""

    lv_ras: Points | None
    rv_ras: Points | None
    area_mm2: float
    phase: int
    centre_ras: Points


def hint_from_labels(
    study: CineStudy, guidance: Guidance | None, source: str = "the given labels"
) -> AnatomyHint:
    """What labels on short-axis slices say: the LV axis passes through the LV pool's centroids, the
    RV is where its pool is, and the base is where the heart's section is larger.

    Nothing is said of what the labels do not show.

    Args:
        source: whose labels they are.
    """
    if guidance is None:
        return NO_HINT
    slices = {s.name: s for s in study.of_view(View.SA)}
    sections = [
        _section(slices[entry.slice_name], entry)
        for entry in guidance.entries
        if entry.slice_name in slices
    ]
    centres = [s.lv_ras for s in sections if s.lv_ras is not None]
    ways = [_unit(s.rv_ras - s.lv_ras) for s in sections if _shows_both(s)]  # type: ignore[operator]
    return AnatomyHint(
        source,
        np.mean(ways, axis=0) if ways else None,
        _base_direction(sections),
        np.mean(centres, axis=0) if centres else None,
    )


def combined_hint(labels: AnatomyHint, user: AnatomyHint) -> AnatomyHint:
    """Both together; where both say something, the labels are more exact."""
    if user.rv_centroid_ras is None and user.base_ras is None:
        return labels
    says_nothing = labels.rv_centroid_ras is None and labels.centre_ras is None
    source = (
        "the user" if says_nothing and labels.base_ras is None else f"{labels.source} and the user"
    )
    base = user.base_ras if user.base_ras is not None else labels.base_ras
    rv = user.rv_centroid_ras if labels.rv_centroid_ras is None else labels.rv_centroid_ras
    return AnatomyHint(source, rv, base, labels.centre_ras)


def _shows_both(section: _Section) -> bool:
    return section.lv_ras is not None and section.rv_ras is not None


def _unit(v: Points) -> Points:
    return np.asarray(v / np.linalg.norm(v), dtype=np.float64)


def _section(cine: CineSlice, entry: SliceGuidance) -> _Section:
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    pixel_mm2 = float(np.prod(cine.spacing_mm))
    labels = np.where(entry.known, entry.probabilities.argmax(axis=-1), Label.BACKGROUND)
    return _Section(
        _centroid(points, labels == Label.LV_BLOOD_POOL, pixel_mm2),
        _centroid(points, labels == Label.RV_BLOOD_POOL, pixel_mm2),
        float(np.isin(labels, FOREGROUND).sum()) * pixel_mm2,
        entry.phase,
        cine.centre_ras,
    )


def _centroid(points: Points, mask: npt.NDArray[np.bool_], pixel_mm2: float) -> Points | None:
    if mask.sum() * pixel_mm2 < 100 * MIN_POOL_CM2:
        return None
    return np.asarray(points[mask].mean(axis=0), dtype=np.float64)


def _base_direction(sections: list[_Section]) -> Points | None:
    """From apex to base, of the phase that has most labelled sections: a heart's sections are
    larger towards the base, so their centroid lies on its side of the middle. None where it does
    not clearly."""
    shown = [s for s in sections if s.area_mm2 > 0]
    phases = [s.phase for s in shown]
    shown = [s for s in shown if s.phase == max(phases, key=phases.count)]
    if len(shown) < 2:
        return None
    centres = np.stack([s.centre_ras for s in shown])
    extent_mm = float(np.linalg.norm(np.ptp(centres, axis=0)))
    off = np.average(centres, axis=0, weights=[s.area_mm2 for s in shown]) - centres.mean(axis=0)
    if np.linalg.norm(off) < MIN_OFF_CENTRE * extent_mm:
        return None
    return np.asarray(off, dtype=np.float64)
