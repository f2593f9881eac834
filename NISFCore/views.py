"""Kinds of cine imaging plane, and the sides of an image."""

from enum import Enum
from typing import Literal, get_args


class View(str, Enum):
    """Kind of imaging plane, recognised from geometry (names are only a hint)."""

    SA = "SA"
    """Short axis: one of the parallel stack, perpendicular to the LV axis."""
    LA_2CH = "LA_2CH"
    """Two-chamber long axis: left ventricle and left atrium."""
    LA_3CH = "LA_3CH"
    """Three-chamber long axis: left ventricle, left atrium and outflow tract."""
    LA_4CH = "LA_4CH"
    """Four-chamber long axis."""
    OTHER = "OTHER"
    """Anything else; never used by a fit."""

    @property
    def is_long_axis(self) -> bool:
        return self in (View.LA_2CH, View.LA_3CH, View.LA_4CH)


LONG_AXIS_VIEWS = (View.LA_2CH, View.LA_3CH, View.LA_4CH)
CARDIAC_VIEWS = (View.SA, *LONG_AXIS_VIEWS)

ImageSide = Literal["right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right"]
"""A side of an image as it is displayed, columns to the right and rows downwards; in steps of 45
degrees from the columns to the rows."""
IMAGE_SIDES: tuple[ImageSide, ...] = get_args(ImageSide)
