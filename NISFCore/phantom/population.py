"""Random hearts with the statistics of published cohorts.

Source of volumes, ejection fractions and mass, by sex: Petersen et al. 2017, J Cardiovasc Magn
Reson 19:18 (UK Biobank, bSSFP, healthy, 45 to 74 years, papillary muscles counted as blood, as
here). Shape, motion, appearance and disease are our own choice; `docs/phantom.md` says which is
which and how far the quoted values were checked.
"""

from dataclasses import dataclass, replace

import numpy as np

from NISFCore.errors import ConfigError
from NISFCore.phantom.motion import HeartMotion
from NISFCore.phantom.parameters import (
    AppearanceParameters,
    ChestParameters,
    DetailParameters,
    HeartParameters,
    LVParameters,
    Mode,
    MotionParameters,
    RVParameters,
)
from NISFCore.phantom.shape import solve_shape

MAX_DRAWS = 200


@dataclass(frozen=True)
class NormalValues:
    """(mean, sd) of one sex. Stroke volumes of both ventricles agree within the body, so the
    RV's ejection fraction follows from its volume and the LV's stroke volume."""

    lv_edv_ml: tuple[float, float]
    lv_ef_percent: tuple[float, float]
    lv_mass_g: tuple[float, float]
    rv_over_lv_edv: tuple[float, float]


# Petersen et al. 2017, means and standard deviations by sex, all ages.
MEN = NormalValues((166.0, 32.0), (58.0, 5.0), (103.0, 21.0), (1.10, 0.10))
WOMEN = NormalValues((124.0, 21.0), (61.0, 5.0), (70.0, 13.0), (1.05, 0.10))

MODE_WEIGHTS = {
    Mode.NORMAL: 0.40,
    Mode.DILATED: 0.15,
    Mode.HYPERTROPHIC: 0.15,
    Mode.REDUCED_EF: 0.18,
    Mode.RV_OVERLOAD: 0.12,
}


class _Draw:
    """Short names for the distributions used below."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, mean: float, sd: float, n_sd: float = 2.5) -> float:
        """Normal, cut off at `n_sd`."""
        while True:
            z = float(self.rng.standard_normal())
            if abs(z) <= n_sd:
                return mean + sd * z

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def direction(self, mean: tuple[float, ...], sd: float) -> tuple[float, float, float]:
        x, y, z = (self.normal(m, sd) for m in mean)
        return x, y, z


def sample_heart(seed: int | np.random.Generator, mode: Mode | None = None) -> HeartParameters:
    """A random heart; equal seeds give equal hearts.

    Args:
        seed: an integer, or a generator to draw from.
        mode: the kind of heart; None draws it, too.
    """
    rng = np.random.default_rng(seed)
    chosen = _draw_mode(rng) if mode is None else mode
    for _ in range(MAX_DRAWS):
        parameters = _draw_heart(_Draw(rng), chosen)
        if _is_possible(parameters):
            return parameters
    raise ConfigError(f"mode {chosen.value}: no possible heart in {MAX_DRAWS} draws")


def _draw_mode(rng: np.random.Generator) -> Mode:
    modes = list(MODE_WEIGHTS)
    return modes[int(rng.choice(len(modes), p=list(MODE_WEIGHTS.values())))]


def _is_possible(parameters: HeartParameters) -> bool:
    """Whether volumes, mass and motion go together."""
    try:
        HeartMotion(parameters, solve_shape(parameters))
    except ConfigError:
        return False
    return 15.0 <= parameters.rv.ef_percent <= 75.0


def _draw_heart(d: _Draw, mode: Mode) -> HeartParameters:
    values = MEN if d.rng.random() < 0.5 else WOMEN
    lv = _with_disease(_draw_lv(d, values), d, mode)
    rv = _draw_rv(d, values, lv, mode)
    return HeartParameters(
        mode=mode,
        lv=lv,
        rv=rv,
        motion=_draw_motion(d, lv, mode),
        detail=_draw_detail(d),
        appearance=_draw_appearance(d),
        chest=_draw_chest(d),
    )


def _draw_lv(d: _Draw, values: NormalValues) -> LVParameters:
    edv = d.normal(*values.lv_edv_ml)
    # Mass goes with volume (body size): half of its spread is shared.
    size = (edv - values.lv_edv_ml[0]) / values.lv_edv_ml[1]
    mass = values.lv_mass_g[0] + values.lv_mass_g[1] * (0.6 * size + d.normal(0, 0.8))
    return LVParameters(
        edv_ml=edv,
        ef_percent=d.normal(*values.lv_ef_percent),
        mass_g=mass,
        length_over_radius=d.normal(3.35, 0.25),
        fullness=d.uniform(0.15, 0.75),
        epi_fullness=d.uniform(0.15, 0.75),
        base_taper=d.uniform(0.05, 0.30),
        apex_thickness_mm=d.uniform(3.5, 7.0),
        septal_excess=d.normal(0.04, 0.04),
        anterior_excess=d.normal(0.0, 0.03),
        septal_flattening=d.uniform(0.0, 0.14),
        ellipticity=d.uniform(0.97, 1.05),
        ellipticity_angle_rad=d.uniform(0.0, np.pi),
        bend_mm=(d.normal(1.5, 2.0), d.normal(0.0, 2.0)),
        base_tilt=(d.normal(0.0, 0.06), d.normal(0.06, 0.07)),
    )


def _with_disease(lv: LVParameters, d: _Draw, mode: Mode) -> LVParameters:
    if mode is Mode.DILATED:
        return replace(
            lv,
            edv_ml=lv.edv_ml * d.uniform(1.35, 2.0),
            ef_percent=d.uniform(15.0, 42.0),
            mass_g=lv.mass_g * d.uniform(1.2, 1.7),
            length_over_radius=lv.length_over_radius - d.uniform(0.2, 0.6),
        )
    if mode is Mode.HYPERTROPHIC:
        return replace(
            lv,
            edv_ml=lv.edv_ml * d.uniform(0.8, 1.05),
            ef_percent=d.uniform(60.0, 76.0),
            mass_g=lv.mass_g * d.uniform(1.4, 2.2),
            septal_excess=d.uniform(0.0, 0.25),
            septal_bulge=d.uniform(0.0, 0.25),
        )
    if mode is Mode.REDUCED_EF:
        return replace(
            lv,
            edv_ml=lv.edv_ml * d.uniform(1.0, 1.4),
            ef_percent=d.uniform(25.0, 50.0),
            mass_g=lv.mass_g * d.uniform(1.0, 1.3),
        )
    if mode is Mode.RV_OVERLOAD:
        return replace(
            lv, edv_ml=lv.edv_ml * d.uniform(0.75, 1.0), septal_flattening=d.uniform(0.12, 0.30)
        )
    return lv


def _draw_rv(d: _Draw, values: NormalValues, lv: LVParameters, mode: Mode) -> RVParameters:
    edv = lv.edv_ml * d.normal(*values.rv_over_lv_edv)
    if mode is Mode.DILATED:
        edv = lv.edv_ml * d.uniform(0.55, 0.95)
    if mode is Mode.RV_OVERLOAD:
        edv = lv.edv_ml * d.uniform(1.4, 2.1)
    stroke = lv.edv_ml * lv.ef_percent / 100 * d.normal(1.0, 0.04)
    return RVParameters(
        edv_ml=edv,
        ef_percent=100 * stroke / edv,
        offset_over_radius=d.uniform(0.55, 0.80),
        angle_rad=d.normal(0.25, 0.13),
        apex_gap_mm=d.uniform(5.0, 20.0),
        fullness=d.uniform(0.3, 1.0),
        tip_narrowing=d.uniform(0.0, 0.3),
        wall_mm=d.uniform(2.2, 4.0) + (d.uniform(0.5, 3.0) if mode is Mode.RV_OVERLOAD else 0.0),
        tricuspid_offset_mm=d.uniform(-6.0, 3.0),
        outflow_height_mm=d.uniform(10.0, 25.0),
        outflow_start=d.uniform(0.1, 0.4),
    )


def _draw_motion(d: _Draw, lv: LVParameters, mode: Mode) -> MotionParameters:
    es = d.uniform(0.30, 0.42)
    vigour = lv.ef_percent / 60.0
    filling_end = es + d.uniform(0.16, 0.28)
    has_scar = mode is Mode.REDUCED_EF or d.rng.random() < 0.1
    return MotionParameters(
        contraction_start=d.uniform(0.0, 0.05),
        es_fraction=es,
        filling_end=filling_end,
        kick_start=d.uniform(max(0.72, filling_end + 0.02), 0.86),
        kick_end=d.uniform(0.93, 1.0),
        diastasis_volume=d.uniform(0.10, 0.40),
        long_axis_shortening=float(np.clip(d.normal(0.155 * vigour, 0.025), 0.03, 0.24)),
        twist_apex_rad=-vigour * d.uniform(0.05, 0.22),
        twist_base_rad=vigour * d.uniform(0.02, 0.09),
        untwist_lead=d.uniform(0.02, 0.10),
        tricuspid_excess_mm=d.uniform(2.0, 12.0),
        scar_depth=d.uniform(0.3, 0.95) if has_scar else 0.0,
        scar_angle_rad=d.uniform(0.0, 2 * np.pi),
        scar_height=d.uniform(0.1, 0.9),
        scar_length=d.uniform(0.25, 0.6),
    )


def _draw_detail(d: _Draw) -> DetailParameters:
    return DetailParameters(
        papillary_radius_mm=d.uniform(2.5, 5.5),
        papillary_depth=d.uniform(0.62, 0.88),
        papillary_angles_rad=(d.normal(2.5, 0.2), d.normal(4.3, 0.2)),
        trabecular_mm=d.uniform(1.0, 4.5),
        trabecular_darkness=d.uniform(0.05, 0.5),
        fat_mm=d.uniform(0.3, 3.0),
        groove_fat_mm=d.uniform(2.0, 9.0),
        atrium_radius_mm=d.normal(25.0, 3.0),
        ra_radius_mm=d.normal(26.0, 3.5),
        aorta_radius_mm=d.normal(14.5, 1.5),
        atrium_shift_mm=(d.normal(-4.0, 3.0), d.normal(-12.0, 3.0)),
    )


def _draw_appearance(d: _Draw) -> AppearanceParameters:
    blood = d.uniform(0.78, 1.0)
    phases = [d.uniform(0.0, 2 * np.pi) for _ in range(4)]
    return AppearanceParameters(
        lv_blood=blood,
        rv_blood=blood * d.uniform(0.85, 1.05),
        atrial_blood=blood * d.uniform(0.85, 1.05),
        myocardium=d.uniform(0.16, 0.40),
        fat=d.uniform(0.65, 1.0),
        lung=d.uniform(0.04, 0.12),
        liver=d.uniform(0.32, 0.55),
        stomach=d.uniform(0.10, 0.60),
        muscle=d.uniform(0.18, 0.35),
        spine=d.uniform(0.30, 0.60),
        texture=d.uniform(0.01, 0.09),
        texture_phases_rad=(phases[0], phases[1], phases[2], phases[3]),
    )


def _draw_chest(d: _Draw) -> ChestParameters:
    return ChestParameters(
        base_from_apex_ras=d.direction((0.70, -0.50, 0.50), 0.09),
        four_chamber_ras=d.direction((1.0, 0.05, 0.0), 0.10),
        thorax_centre_mm=(d.normal(55.0, 8.0), d.normal(-30.0, 6.0)),
        thorax_radii_mm=(d.normal(135.0, 8.0), d.normal(90.0, 5.0)),
        wall_mm=d.uniform(9.0, 18.0),
        body_fat_mm=d.uniform(5.0, 30.0),
        diaphragm_mm=d.normal(-42.0, 7.0),
    )
