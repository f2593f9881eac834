"""Pictures of surfaces in pure numpy: orthographic, smooth shading, translucent layers.

Off-screen OpenGL would need a graphics driver; without one VTK ends the whole process
(segmentation fault, measured with vtk 9.7 on Linux without EGL and OSMesa). A report must work
everywhere, and its few pictures take about a second each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.surfaces import Surface
from NISFCore.geometry.spaces import Points

SUPERSAMPLING = 2
SAMPLES_PER_PIXEL = 1.3
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.42, 0.58, 0.25, 24.0
LIGHT_IN_VIEW = np.array([-0.35, 0.45, 0.82])
RIM_OPACITY = 0.75
"""How much more opaque a translucent surface is where it is seen edge-on."""

Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShadedSurface:
    """A surface, its colour (0..255) and opacity (0..1, seen face-on)."""

    surface: Surface
    rgb: tuple[int, int, int]
    opacity: float = 1.0


@dataclass(frozen=True)
class Camera:
    """An orthographic view.

    Attributes:
        centre_ras: shown in the middle.
        view_from_ras: `(3, 3)` rows are the directions right, up, towards the viewer.
        half_width_mm: from the middle to the edge of the picture.
    """

    centre_ras: Points
    view_from_ras: npt.NDArray[np.float64]
    half_width_mm: float


@dataclass(frozen=True)
class _Layer:
    """The nearest points of one surface: depth (-inf where there is none), colour, opacity."""

    depth: npt.NDArray[np.float64]
    rgb: Image
    alpha: npt.NDArray[np.float64]


def look_from(towards_viewer_ras: npt.ArrayLike, up_ras: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """View axes for a viewer in this direction, with `up_ras` as upright as it can be."""
    towards = np.asarray(towards_viewer_ras, dtype=np.float64)
    towards = towards / np.linalg.norm(towards)
    right = np.cross(np.asarray(up_ras, dtype=np.float64), towards)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def framing(surfaces: Sequence[Surface], view_from_ras: npt.NDArray[np.float64]) -> Camera:
    """A camera that shows all these surfaces with a small margin; the same for every phase."""
    points = np.concatenate([s.points_ras for s in surfaces] + [np.zeros((0, 3))])
    if not len(points):
        return Camera(np.zeros(3), view_from_ras, 50.0)
    seen = points @ view_from_ras.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    half_width = 0.54 * float((high - low)[:2].max())
    return Camera(view_from_ras.T @ ((low + high) / 2), view_from_ras, half_width)


def render_surfaces(
    shaded: Sequence[ShadedSurface], camera: Camera, size_px: int, background: tuple[int, int, int]
) -> npt.NDArray[np.uint8]:
    """A picture `(size_px, size_px, 3)` of some surfaces."""
    n = size_px * SUPERSAMPLING
    image = np.broadcast_to(np.array(background, dtype=np.float64) / 255, (n, n, 3)).copy()
    layers = [_layer(s, camera, n) for s in shaded if len(s.surface.triangles)]
    if layers:
        depth = np.stack([layer.depth for layer in layers])
        for rank in np.argsort(depth, axis=0):  # far to near, per pixel
            image = _over(image, layers, rank)
    small = image.reshape(size_px, SUPERSAMPLING, size_px, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)


def _over(image: Image, layers: Sequence[_Layer], rank: npt.NDArray[np.intp]) -> Image:
    """Lay, at every pixel, the layer of index `rank` over the image."""
    result = image
    for index, layer in enumerate(layers):
        alpha = np.where((rank == index) & np.isfinite(layer.depth), layer.alpha, 0)[..., None]
        result = (1 - alpha) * result + alpha * layer.rgb
    return result


def _layer(shaded: ShadedSurface, camera: Camera, n: int) -> _Layer:
    """Sample all triangles that face the viewer densely; the nearest sample of a pixel wins."""
    pixels_per_mm = n / (2 * camera.half_width_mm)
    surface = shaded.surface
    seen = (surface.points_ras - camera.centre_ras) @ camera.view_from_ras.T
    points, normals = _samples(
        seen[surface.triangles] * pixels_per_mm,
        (surface.vertex_normals() @ camera.view_from_ras.T)[surface.triangles],
    )
    column = np.floor(points[:, 0] + n / 2).astype(np.int64)
    row = np.floor(n / 2 - points[:, 1]).astype(np.int64)
    on_image = np.flatnonzero((column >= 0) & (column < n) & (row >= 0) & (row < n))
    order = on_image[np.argsort(points[on_image, 2])]
    pixel = row[order] * n + column[order]
    depth, nearest = np.full(n * n, -np.inf), np.full((n * n, 3), [0, 0, 1.0])
    depth[pixel] = points[order, 2]  # of equal indices the last one, the nearest, stays
    nearest[pixel] = normals[order]
    rgb, alpha = _shade(nearest.reshape(n, n, 3), shaded)
    return _Layer(depth.reshape(n, n), rgb, alpha)


def _samples(
    corners_px: npt.NDArray[np.float64], corner_normals: npt.NDArray[np.float64]
) -> tuple[Points, Points]:
    """Points (in pixels) and normals, `(n, 3)` each, of triangles `(n_triangles, 3, 3)` that face
    the viewer; `SAMPLES_PER_PIXEL` along every direction, whatever the triangle's size."""
    edges = corners_px - np.roll(corners_px, 1, axis=1)
    facing = np.cross(edges[:, 1], edges[:, 2])[:, 2] > 0
    longest_px = np.linalg.norm(edges[..., :2], axis=-1).max(axis=1, initial=0)
    steps = np.clip(np.ceil(SAMPLES_PER_PIXEL * longest_px), 1, 512).astype(int)
    points, normals = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for n in np.unique(steps[facing]):
        weights, chosen = _barycentric(int(n)), facing & (steps == n)
        points.append((weights @ corners_px[chosen]).reshape(-1, 3))
        normals.append((weights @ corner_normals[chosen]).reshape(-1, 3))
    return np.concatenate(points), np.concatenate(normals)


def _barycentric(n: int) -> npt.NDArray[np.float64]:
    """Evenly spread barycentric coordinates `(n_samples, 3)`, n steps along every edge."""
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    inside = i + j <= n
    a, b = i[inside] / n, j[inside] / n
    return np.stack([a, b, 1 - a - b], axis=1)


def _shade(
    normals: npt.NDArray[np.float64], shaded: ShadedSurface
) -> tuple[Image, npt.NDArray[np.float64]]:
    """Colour and opacity of every pixel (Blinn-Phong, one light)."""
    N = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    light = LIGHT_IN_VIEW / np.linalg.norm(LIGHT_IN_VIEW)
    half = light + np.array([0, 0, 1])
    diffuse = np.clip(N @ light, 0, 1)
    shine = np.clip(N @ (half / np.linalg.norm(half)), 0, 1) ** SHININESS
    colour = np.array(shaded.rgb) / 255
    rgb = colour * (AMBIENT + DIFFUSE * diffuse)[..., None] + SPECULAR * shine[..., None]
    edge_on = (1 - np.clip(N[..., 2], 0, 1)) ** 2
    alpha = shaded.opacity + (1 - shaded.opacity) * RIM_OPACITY * edge_on
    return rgb, alpha
