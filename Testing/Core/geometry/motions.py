"""Random and extreme rigid motions for property tests: near identity, near half a turn."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine

Array = npt.NDArray[np.float64]

ANGLES_RAD = (0.0, 1e-12, 1e-7, 1e-3, 0.5, 2.0, np.pi - 1e-3, np.pi - 1e-7, np.pi)
"""Where implementations of the rotation vector break: at zero and at half a turn."""


def _unit(values: tuple[float, float, float]) -> Array:
    v = np.array(values)
    length = float(np.linalg.norm(v))
    return v / length if length > 1e-3 else np.array([0.0, 0.6, 0.8])


def vectors(size: float) -> st.SearchStrategy[Array]:
    """Vectors `(3,)` with components within ±size."""
    component = st.floats(-size, size, allow_subnormal=False)
    return st.tuples(component, component, component).map(np.array)


unit_vectors = vectors(1.0).map(lambda v: _unit((v[0], v[1], v[2])))
angles_rad = st.sampled_from(ANGLES_RAD) | st.floats(0.0, np.pi)


@st.composite
def rotvecs(draw: st.DrawFn) -> Array:
    """Rotation vectors with angles in [0, pi]."""
    angle, axis = draw(angles_rad), draw(unit_vectors)
    return np.asarray(angle * axis)


@st.composite
def rigid_motions(draw: st.DrawFn) -> Affine:
    """Rigid motions with translations up to half a metre."""
    return rigid(rotation_from_rotvec(draw(rotvecs())), draw(vectors(500.0)))


def random_rotation(rng: np.random.Generator, max_angle_deg: float = 180.0) -> Array:
    """A rotation about a random axis by up to `max_angle_deg`."""
    axis = rng.normal(size=3)
    angle = np.deg2rad(max_angle_deg) * rng.uniform()
    return rotation_from_rotvec(angle * axis / np.linalg.norm(axis))


def plane_ras_from_ijk(
    rotation: npt.ArrayLike,
    centre_ras: npt.ArrayLike,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float] = (1.5, 1.5),
    thickness_mm: float = 8.0,
) -> Affine:
    """A plane whose i, j and normal are the COLUMNS of `rotation`, centred at `centre_ras`.

    Args:
        spacing_mm: along i, j.
    """
    A = np.eye(4)
    A[:3, :3] = np.asarray(rotation) * [*spacing_mm, thickness_mm]
    rows, cols = shape
    A[:3, 3] = np.asarray(centre_ras) - A[:3, :2] @ [(cols - 1) / 2, (rows - 1) / 2]
    return A
