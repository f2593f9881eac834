"""Rings of tissue with motion in closed form, as training subjects and as planes."""

import numpy as np
import torch

from NISFCore.motion.config import MotionConfig, NetworkConfig, StartConfig
from NISFCore.motion.plane import plane_of
from NISFCore.motion.priors.config import MotionTrainingConfig, PriorKind
from NISFCore.motion.priors.subjects import MotionSubject, Subjects
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from Testing.Core.motion.movies import Ring, RingMotion

NETWORK = NetworkConfig(width=8, n_layers=1)
N_FEATURES = 24
FIT = MotionConfig(network=NETWORK, start=StartConfig(n_features=N_FEATURES))


def small(kind: PriorKind, **changes: object) -> MotionTrainingConfig:
    """A training of a small network, quickly."""
    settings: dict[str, object] = {
        "kind": kind,
        "n_subjects": 6,
        "n_steps_of_cycle": 8,
        "network": NETWORK,
        "n_features": N_FEATURES,
        "n_iterations": 300,
        "rate": 1e-3,
        "n_batch": 6,
        "n_latent": 2,
    }
    return MotionTrainingConfig(**(settings | changes))  # type: ignore[arg-type]


def rings(n: int = 6) -> list[Ring]:
    """Rings that shrink and turn by different amounts."""
    amounts = np.linspace(0.04, 0.16, n)
    turns = 0.1 * np.cos(np.arange(n))
    return [
        Ring(RingMotion(float(a), float(b)), n_phases=8, noise=0.05)
        for a, b in zip(amounts, turns, strict=True)
    ]


def subject_of(ring: Ring, knots: tuple[float, ...]) -> MotionSubject:
    """The ring's exact motion, in radii."""
    plane = plane_of(ring.cine(), None)
    axes, radius = plane.placement.axes, plane.placement.radius_mm
    u = np.stack([ring.displacement(plane.points_ras, t) @ axes.T for t in knots[1:]]) / radius
    points = plane.local_points() / radius
    return MotionSubject(points, torch.tensor(u, dtype=torch.float32), radius)


def subjects_of(some: list[Ring], config: MotionTrainingConfig) -> Subjects:
    """Their motions together."""
    together = [subject_of(ring, config.field.knots) for ring in some]
    points = torch.stack([s.points for s in together])
    u = torch.stack([s.displacement for s in together])
    return Subjects(points, u, torch.tensor([s.radius_mm for s in together]))


def seen(ring: Ring) -> TaggedPlane:
    """What a fit sees of a ring."""
    return tagged_plane([ring.tagged(45.0), ring.tagged(135.0)], FIT)


def error_mm(ring: Ring, plane: TaggedPlane, state: torch.Tensor) -> float:
    """RMSE of a field with these weights."""
    field = plane.field(FIT)
    field.load_flat_state(state)
    with torch.no_grad():
        u = field.displacement(plane.points, plane.times).numpy() @ plane.plane.placement.axes
    true = [ring.displacement(plane.plane.points_ras, float(t)) for t in ring.times]
    return float(np.sqrt(((u - np.stack(true)) ** 2).sum(axis=-1).mean()))
