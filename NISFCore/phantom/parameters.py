"""`HeartParameters`: every number that makes one simulated heart differ from another.

Lengths in mm, volumes in ml, angles in rad, times as fractions of the cardiac cycle. Angles about
the LV axis count from the 4-chamber plane's RV side (+x, 0) towards the anterior wall (+y, pi/2).
Volumes, mass and ejection fractions are given; radii are solved for them (`shape.solve_shape`).
Population values are drawn by `population.sample_heart`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from NISFCore.config import from_json_object, to_json_object


class Mode(str, Enum):
    """Kind of heart that is drawn."""

    NORMAL = "normal"
    DILATED = "dilated"
    """Large, spherical LV with thin walls and low ejection fraction."""
    HYPERTROPHIC = "hypertrophic"
    """Thick, often asymmetric (septal) wall, small cavity, high ejection fraction."""
    REDUCED_EF = "reduced_ef"
    """Low ejection fraction with a regional wall-motion abnormality (as after an infarction)."""
    RV_OVERLOAD = "rv_overload"
    """Large RV of low ejection fraction, flattened septum."""


@dataclass(frozen=True)
class LVParameters:
    """Size and shape of the left ventricle at end-diastole.

    Attributes:
        edv_ml: cavity volume at ED, papillary muscles counted as blood.
        ef_percent: ejection fraction.
        mass_g: myocardial mass at 1.05 g/ml, papillary muscles not counted.
        length_over_radius: cavity length (apex to base plane) over largest radius.
        fullness, epi_fullness: 0 an ellipsoid, towards 1 a bullet, negative a cone.
        base_taper: relative loss of squared radius from the widest level to the base plane.
        apex_thickness_mm: wall at the apex.
        septal_excess, anterior_excess: relative excess of the squared epicardial radius there.
        septal_bulge: relative loss of squared endocardial radius at the septum (hypertrophy).
        septal_flattening: relative loss of both squared radii at the septum.
        ellipticity, ellipticity_angle_rad: ratio of the cross-section's axes is ellipticity^2.
        bend_mm: sideways displacement of base and apex against mid-level, along x and y.
        base_tilt: slope of the base plane against the LV axis, along x and y.
    """

    edv_ml: float = 145.0
    ef_percent: float = 60.0
    mass_g: float = 95.0
    length_over_radius: float = 3.3
    fullness: float = 0.45
    epi_fullness: float = 0.45
    base_taper: float = 0.18
    apex_thickness_mm: float = 5.0
    septal_excess: float = 0.06
    anterior_excess: float = 0.0
    septal_bulge: float = 0.0
    septal_flattening: float = 0.08
    ellipticity: float = 1.03
    ellipticity_angle_rad: float = 0.5
    bend_mm: tuple[float, float] = (2.0, 1.0)
    base_tilt: tuple[float, float] = (0.0, 0.08)


@dataclass(frozen=True)
class RVParameters:
    """Size and shape of the right ventricle at end-diastole.

    Attributes:
        edv_ml, ef_percent: cavity volume at ED below the tricuspid and pulmonary level.
        offset_over_radius: centre distance from the LV axis over radius, of the basal circle.
        angle_rad: direction of the RV's centre (and of the septum) about the LV axis, from the
            4-chamber plane.
        apex_gap_mm: height of the RV apex above the LV apex.
        fullness: 0 a wedge towards the RV apex, 1 a bullet.
        tip_narrowing: how much narrower about the LV axis the crescent is at its apex.
        wall_mm: thickness of the free wall.
        tricuspid_offset_mm: tricuspid plane above the LV base plane.
        outflow_height_mm: pulmonary valve above the tricuspid plane.
        outflow_start: where the outflow tract begins, y over RV radius.
    """

    edv_ml: float = 160.0
    ef_percent: float = 56.0
    offset_over_radius: float = 0.68
    angle_rad: float = 0.25
    apex_gap_mm: float = 14.0
    fullness: float = 0.7
    tip_narrowing: float = 0.15
    wall_mm: float = 3.0
    tricuspid_offset_mm: float = -1.0
    outflow_height_mm: float = 18.0
    outflow_start: float = 0.25


@dataclass(frozen=True)
class MotionParameters:
    """How the heart beats.

    Attributes:
        contraction_start, es_fraction, filling_end, kick_start, kick_end: events of the cycle.
        diastasis_volume: part of the stroke volume still missing before the atrial kick.
        long_axis_shortening: relative shortening of the LV, apex to base plane, at ES.
        twist_apex_rad, twist_base_rad: rotation about +z at ES (apex negative: anticlockwise
            seen from the apex).
        untwist_lead: how much earlier the twist relaxes than the volume.
        tricuspid_excess_mm: extra descent of the lateral tricuspid annulus at ES.
        scar_depth: 0 none, 1 an akinetic region.
        scar_angle_rad, scar_height, scar_length: its centre about and along the LV axis
            (0 apex, 1 base) and its half length along the axis (same unit).
        delay: how much later than the rest the most delayed side of the LV contracts and relaxes;
            0 is synchronous.
        delay_angle_rad: direction of that side about the LV axis (lateral: pi).
    """

    contraction_start: float = 0.03
    es_fraction: float = 0.36
    filling_end: float = 0.58
    kick_start: float = 0.82
    kick_end: float = 0.97
    diastasis_volume: float = 0.22
    long_axis_shortening: float = 0.15
    twist_apex_rad: float = -0.14
    twist_base_rad: float = 0.06
    untwist_lead: float = 0.05
    tricuspid_excess_mm: float = 7.0
    scar_depth: float = 0.0
    scar_angle_rad: float = 0.0
    scar_height: float = 0.5
    scar_length: float = 0.35
    delay: float = 0.0
    delay_angle_rad: float = 3.14


@dataclass(frozen=True)
class DetailParameters:
    """What lies inside and around the ventricles.

    Attributes:
        papillary_radius_mm, papillary_depth: size; distance from the axis over cavity radius.
        papillary_angles_rad: anterolateral and posteromedial.
        trabecular_mm, trabecular_darkness: thickness and strength of the dark endocardial band.
        fat_mm, groove_fat_mm: epicardial fat everywhere, and extra in the grooves.
        atrium_radius_mm, ra_radius_mm, aorta_radius_mm: sizes of what lies above the base.
        atrium_shift_mm: sideways shift of the left atrium along x and y.
    """

    papillary_radius_mm: float = 4.5
    papillary_depth: float = 0.74
    papillary_angles_rad: tuple[float, float] = (2.5, 4.3)
    trabecular_mm: float = 2.5
    trabecular_darkness: float = 0.3
    fat_mm: float = 1.5
    groove_fat_mm: float = 6.0
    atrium_radius_mm: float = 25.0
    ra_radius_mm: float = 26.0
    aorta_radius_mm: float = 14.0
    atrium_shift_mm: tuple[float, float] = (-4.0, -12.0)


@dataclass(frozen=True)
class AppearanceParameters:
    """Signal of a balanced SSFP cine, 1 about the brightest blood."""

    lv_blood: float = 0.92
    rv_blood: float = 0.88
    atrial_blood: float = 0.88
    myocardium: float = 0.26
    fat: float = 0.85
    lung: float = 0.07
    liver: float = 0.42
    stomach: float = 0.30
    muscle: float = 0.28
    spine: float = 0.45
    texture: float = 0.05
    texture_phases_rad: tuple[float, float, float, float] = (0.3, 1.7, 4.0, 5.1)


@dataclass(frozen=True)
class ChestParameters:
    """How the heart lies in the patient, and the patient around it.

    Attributes:
        base_from_apex_ras, four_chamber_ras: directions of the heart's +z and +x in RAS (of any
            length; the second is made perpendicular to the first).
        thorax_centre_mm: right and anterior position of the thorax axis from the LV centre.
        thorax_radii_mm: inner half width and half depth of the thorax.
        wall_mm, body_fat_mm: muscle with ribs, and fat outside it.
        diaphragm_mm: height of the diaphragm above the LV centre (negative: below).
    """

    base_from_apex_ras: tuple[float, float, float] = (0.70, -0.50, 0.50)
    four_chamber_ras: tuple[float, float, float] = (1.0, 0.05, 0.0)
    thorax_centre_mm: tuple[float, float] = (55.0, -30.0)
    thorax_radii_mm: tuple[float, float] = (135.0, 90.0)
    wall_mm: float = 14.0
    body_fat_mm: float = 16.0
    diaphragm_mm: float = -42.0


@dataclass(frozen=True)
class HeartParameters:
    """One simulated heart. The defaults are an average adult's."""

    mode: Mode = Mode.NORMAL
    lv: LVParameters = LVParameters()
    rv: RVParameters = RVParameters()
    motion: MotionParameters = MotionParameters()
    detail: DetailParameters = DetailParameters()
    appearance: AppearanceParameters = AppearanceParameters()
    chest: ChestParameters = ChestParameters()

    def to_json_object(self) -> dict[str, Any]:
        """As plain JSON types."""
        return to_json_object(self)

    @staticmethod
    def from_json_object(values: dict[str, Any]) -> "HeartParameters":
        """Inverse of `to_json_object`.

        Raises:
            ConfigError: for unknown keys or values of the wrong type.
        """
        return from_json_object(HeartParameters, values)
