"""A beating blob heart and the planes on which it is imaged, all in LPS (the space of DICOM).

Nothing here uses NISFCore, so that an error of the reader cannot hide in its tests.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

# Apex to base and the trace of the 4CH plane, towards the RV, as in real planned hearts.
BASE_LPS = np.array([-0.49, 0.58, 0.65])
RIGHT_LPS = np.array([-0.87, -0.37, -0.31])
CENTRE_LPS = np.array([40.0, -20.0, 10.0])

LA_ANGLES_DEG = {"LA_4CH": 0.0, "LA_3CH": 59.0, "LA_2CH": 111.0}


@dataclass(frozen=True)
class BlobHeart:
    """Where a heart lies: unit axes (x to the RV, y anterior, z to the base) and centre, in LPS."""

    x: Vector
    y: Vector
    z: Vector
    centre: Vector

    def to_lps(self, point: Vector) -> Vector:
        return np.asarray(self.centre + point[0] * self.x + point[1] * self.y + point[2] * self.z)

    def intensity(self, points_lps: Vector, cycle: float) -> Vector:
        """Brightness at `(..., 3)`: bright blood, dark wall, grey chest; smallest at cycle 0.35."""
        p = points_lps - self.centre
        x, y, z = p @ self.x, p @ self.y, p @ self.z
        squeeze = np.exp(-(((cycle - 0.35) / 0.15) ** 2))
        lv = np.sqrt((x**2 + y**2) / (24 - 8 * squeeze) ** 2 + (z / 45) ** 2)
        wall = np.sqrt((x**2 + y**2) / 34**2 + (z / 52) ** 2)
        rv = np.sqrt(((x - 32) / (26 - 7 * squeeze)) ** 2 + (y / 34) ** 2 + (z / 44) ** 2)
        image = 120.0 + 0.3 * x
        image = np.where(rv < 1, 700.0, image)
        image = np.where(wall < 1, 200.0, image)
        return np.asarray(np.where(lv < 1, 800.0, image))


def blob_heart(
    base_lps: Vector = BASE_LPS,
    right_lps: Vector = RIGHT_LPS,
    centre_lps: Vector = CENTRE_LPS,
) -> BlobHeart:
    """A heart with its long axis along `base_lps` and its RV towards `right_lps`."""
    z = base_lps / np.linalg.norm(base_lps)
    x = right_lps - (right_lps @ z) * z
    x = x / np.linalg.norm(x)
    return BlobHeart(x, np.cross(z, x), z, centre_lps)


@dataclass(frozen=True)
class Plane:
    """One cine of one plane, as an operator planned it.

    Attributes:
        truth: "SA", "LA_2CH", "LA_3CH", "LA_4CH" or "OTHER".
        i_lps, j_lps: unit directions of columns (rightwards) and rows (downwards).
        centre_lps: centre of the image.
        spacing_mm: (between rows, between columns), the order of DICOM's PixelSpacing.
    """

    truth: str
    series: int
    description: str
    i_lps: Vector
    j_lps: Vector
    centre_lps: Vector
    shape: tuple[int, int] = (40, 48)
    spacing_mm: tuple[float, float] = (4.0, 4.0)
    thickness_mm: float = 8.0
    n_phases: int = 8
    rr_interval_ms: float = 800.0

    @property
    def position_lps(self) -> Vector:
        """Centre of the first pixel: ImagePositionPatient."""
        rows, cols = self.shape
        row_mm, col_mm = self.spacing_mm
        return np.asarray(
            self.centre_lps
            - self.i_lps * col_mm * (cols - 1) / 2
            - self.j_lps * row_mm * (rows - 1) / 2
        )

    @property
    def normal_lps(self) -> Vector:
        return np.cross(self.i_lps, self.j_lps)

    @property
    def times_ms(self) -> Vector:
        return np.round(np.arange(self.n_phases) * self.rr_interval_ms / self.n_phases, 2)

    def points_lps(self) -> Vector:
        """`(rows, cols, 3)` by the formula of DICOM PS3.3 C.7.6.2.1.1."""
        rows, cols = self.shape
        j, i = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
        return np.asarray(
            self.position_lps
            + i[..., None] * self.i_lps * self.spacing_mm[1]
            + j[..., None] * self.j_lps * self.spacing_mm[0]
        )

    def images(self, heart: BlobHeart) -> npt.NDArray[np.uint16]:
        """`(n_phases, rows, cols)`."""
        points = self.points_lps()
        cycles = self.times_ms / self.rr_interval_ms
        return np.stack([heart.intensity(points, c).astype(np.uint16) for c in cycles])


def sa_planes(
    heart: BlobHeart, n: int = 5, spacing_mm: float = 14.0, series: int = 1
) -> list[Plane]:
    """SA stack from base to apex, one series for each slice."""
    heights = (np.arange(n)[::-1] - (n - 1) / 2) * spacing_mm
    return [
        Plane("SA", series + k, "cine sax", -heart.x, -heart.y, heart.to_lps(np.array([0, 0, h])))
        for k, h in enumerate(heights)
    ]


def la_plane(heart: BlobHeart, view: str, series: int, description: str = "cine lax") -> Plane:
    """A plane through the LV axis at the usual angle of its view, apex up."""
    angle = np.deg2rad(LA_ANGLES_DEG[view])
    across = -(np.cos(angle) * heart.x + np.sin(angle) * heart.y)
    return Plane(view, series, description, across, heart.z, heart.centre)


def la_planes(heart: BlobHeart, series: int = 101) -> list[Plane]:
    """The three long-axis views, in order of `View`."""
    views = ("LA_2CH", "LA_3CH", "LA_4CH")
    return [la_plane(heart, v, series + k) for k, v in enumerate(views)]


def usual_planes(heart: BlobHeart) -> list[Plane]:
    """SA stack and long-axis views, each with its own RR interval."""
    planes = [*sa_planes(heart), *la_planes(heart)]
    return [replace(p, rr_interval_ms=800.0 + 20.0 * k) for k, p in enumerate(planes)]
