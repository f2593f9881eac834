"""Hearts that differ in how they move: for tracking, strain and the priors of motion.

Sizes and shapes are `population.sample_heart`'s; what is changed here are amplitude, regions and
timing. The ranges are our own choice, from no cohort (`docs/phantom.md`).
"""

from dataclasses import replace
from enum import Enum

import numpy as np

from NISFCore.errors import ConfigError
from NISFCore.phantom.motion import HeartMotion
from NISFCore.phantom.parameters import HeartParameters, Mode, MotionParameters
from NISFCore.phantom.population import MAX_DRAWS, sample_heart
from NISFCore.phantom.shape import solve_shape


class MotionKind(str, Enum):
    """Kind of motion that is drawn."""

    HEALTHY = "healthy"
    """Normal function, the same all around."""
    DYSFUNCTIONAL = "dysfunctional"
    """A region that hardly contracts (hypokinetic) or not at all (akinetic)."""
    DYSSYNCHRONOUS = "dyssynchronous"
    """One side of the LV contracts late, mostly the lateral one (as in left bundle branch
    block)."""
    LARGE = "large"
    """High ejection fraction, much long-axis shortening and twist: tags move farthest."""
    SMALL = "small"
    """Dilated, of low ejection fraction: tags hardly move."""


_MODES = {
    MotionKind.HEALTHY: Mode.NORMAL,
    MotionKind.DYSFUNCTIONAL: Mode.REDUCED_EF,
    MotionKind.DYSSYNCHRONOUS: Mode.DILATED,
    MotionKind.LARGE: Mode.NORMAL,
    MotionKind.SMALL: Mode.DILATED,
}


def sample_motion_heart(
    seed: int | np.random.Generator, kind: MotionKind | str = MotionKind.HEALTHY
) -> HeartParameters:
    """A random heart of this kind of motion; equal seeds give equal hearts.

    Raises:
        ConfigError: for an unknown kind.
    """
    chosen = _kind(kind)
    rng = np.random.default_rng(seed)
    for _ in range(MAX_DRAWS):
        parameters = _changed(sample_heart(rng, _MODES[chosen]), chosen, rng)
        if _is_possible(parameters):
            return parameters
    raise ConfigError(f"kind {chosen.value}: no possible heart in {MAX_DRAWS} draws")


def _kind(kind: MotionKind | str) -> MotionKind:
    try:
        return MotionKind(kind)
    except ValueError:
        allowed = ", ".join(k.value for k in MotionKind)
        raise ConfigError(f"kind of motion: got {kind!r}, allowed: {allowed}") from None


def _is_possible(parameters: HeartParameters) -> bool:
    try:
        HeartMotion(parameters, solve_shape(parameters))
    except ConfigError:
        return False
    return True


def _changed(heart: HeartParameters, kind: MotionKind, rng: np.random.Generator) -> HeartParameters:
    if kind is MotionKind.DYSFUNCTIONAL:
        return replace(heart, motion=_with_scar(heart.motion, rng))
    even = replace(heart.motion, scar_depth=0.0)
    if kind is MotionKind.DYSSYNCHRONOUS:
        return replace(heart, motion=_delayed(even, rng))
    if kind is MotionKind.LARGE:
        return _vigorous(replace(heart, motion=even), rng)
    if kind is MotionKind.SMALL:
        return _weak(replace(heart, motion=even), rng)
    return replace(heart, motion=even)


def _with_scar(motion: MotionParameters, rng: np.random.Generator) -> MotionParameters:
    return replace(
        motion,
        scar_depth=float(rng.uniform(0.6, 1.0)),
        scar_height=float(rng.uniform(0.3, 0.7)),
        scar_length=float(rng.uniform(0.35, 0.6)),
    )


def _delayed(motion: MotionParameters, rng: np.random.Generator) -> MotionParameters:
    most = 0.9 * (motion.kick_start - motion.filling_end)
    return replace(
        motion,
        delay=min(float(rng.uniform(0.06, 0.15)), most),
        delay_angle_rad=float(np.pi + 0.4 * rng.standard_normal()),
    )


def _vigorous(heart: HeartParameters, rng: np.random.Generator) -> HeartParameters:
    lv = replace(heart.lv, ef_percent=float(rng.uniform(68.0, 76.0)))
    stroke_ml = lv.edv_ml * lv.ef_percent / 100
    rv = replace(heart.rv, ef_percent=100 * stroke_ml / heart.rv.edv_ml)
    motion = replace(
        heart.motion,
        long_axis_shortening=float(rng.uniform(0.18, 0.23)),
        twist_apex_rad=-float(rng.uniform(0.18, 0.28)),
        twist_base_rad=float(rng.uniform(0.06, 0.10)),
    )
    return replace(heart, lv=lv, rv=rv, motion=motion)


def _weak(heart: HeartParameters, rng: np.random.Generator) -> HeartParameters:
    lv = replace(heart.lv, ef_percent=float(rng.uniform(12.0, 24.0)))
    stroke_ml = lv.edv_ml * lv.ef_percent / 100
    rv = replace(heart.rv, ef_percent=100 * stroke_ml / heart.rv.edv_ml)
    motion = replace(
        heart.motion,
        long_axis_shortening=float(rng.uniform(0.03, 0.07)),
        twist_apex_rad=-float(rng.uniform(0.01, 0.05)),
        twist_base_rad=float(rng.uniform(0.0, 0.02)),
    )
    return replace(heart, lv=lv, rv=rv, motion=motion)
