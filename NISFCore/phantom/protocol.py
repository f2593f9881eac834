"""`AcquisitionProtocol`: how the simulated scanner images a heart."""

from dataclasses import dataclass, replace

import numpy as np

from NISFCore.errors import ConfigError


@dataclass(frozen=True)
class AcquisitionProtocol:
    """Settings of one simulated examination.

    Attributes:
        name: of the preset this came from.
        n_sa_slices: 0 lets the operator choose: from just below the apex to above the base plane.
        sa_levels: heights of the SA slices as parts of the LV's length, apex 0, base plane 1, from
            base to apex; given, they take the place of n_sa_slices and slice_spacing_mm.
        has_long_axis: whether long-axis planes are imaged.
        thickness_mm, slice_spacing_mm: slice profile FWHM; distance of SA slice centres.
        pixel_mm, fov_mm: in-plane pixel and width of the square image.
        n_phases: frames per cycle.
        n_radial_planes: 0 images the clinical 2-, 3- and 4-chamber planes; n > 0 images n planes
            through the LV axis at equal angles instead, the first of them the 4-chamber plane.
        noise_sd: of each channel of the complex signal (magnitude images are Rician).
        coil_bias: logarithm of the receive sensitivity's change over 100 mm, standard deviation.
        intensity_scale_sd: of the logarithm of the slice-wise scale.
        breath_hold_sd_mm: standard deviation along right, anterior, superior.
        breath_hold_sd_deg: of each component of the rotation vector.
        planning_sd_mm, planning_sd_deg: errors of planes against the heart's own axes.
        rr_mean_ms, rr_sd_fraction: heart beat of the study, and its change between breath-holds.
        gain: pixel value of signal 1; pixels are whole numbers, as a scanner's.
        n_sub_pixels, n_profile: samples per pixel, along each in-plane axis and through the slice.
        is_blurred: whether images carry the in-plane blur (FWHM one pixel).
        has_random_times: frames at random instead of equal times of the cycle.
        cycle_share: part of the cycle that the frames cover, from ED on; less than 1 where a
            prospective trigger has to wait for the next beat.
    """

    name: str = "clinical"
    n_sa_slices: int = 0
    thickness_mm: float = 8.0
    slice_spacing_mm: float = 9.0
    pixel_mm: float = 1.6
    fov_mm: float = 330.0
    n_phases: int = 30
    n_radial_planes: int = 0
    noise_sd: float = 0.02
    coil_bias: float = 0.15
    intensity_scale_sd: float = 0.06
    breath_hold_sd_mm: tuple[float, float, float] = (1.2, 1.8, 4.4)
    breath_hold_sd_deg: float = 1.2
    planning_sd_mm: float = 2.0
    planning_sd_deg: float = 3.0
    rr_mean_ms: float = 850.0
    rr_sd_fraction: float = 0.05
    gain: float = 1000.0
    n_sub_pixels: int = 2
    n_profile: int = 3
    is_blurred: bool = True
    has_random_times: bool = False
    sa_levels: tuple[float, ...] = ()
    has_long_axis: bool = True
    cycle_share: float = 1.0

    def __post_init__(self) -> None:
        self._check("pixel_mm", self.pixel_mm, 0.3, 5.0)
        self._check("thickness_mm", self.thickness_mm, 0.5, 20.0)
        self._check("slice_spacing_mm", self.slice_spacing_mm, 1.0, 30.0)
        self._check("fov_mm", self.fov_mm, 10 * self.pixel_mm, 600.0)
        self._check("n_phases", self.n_phases, 1, 200)
        self._check("n_sub_pixels", self.n_sub_pixels, 1, 8)
        self._check("n_profile", self.n_profile, 1, 25)
        self._check("rr_mean_ms", self.rr_mean_ms, 300.0, 2500.0)
        self._check("noise_sd", self.noise_sd, 0.0, 10.0)
        self._check("gain", self.gain, 10.0, 20000.0)
        self._check("cycle_share", self.cycle_share, 0.1, 1.0)

    @property
    def n_pixels(self) -> int:
        """Rows and columns of an image."""
        return round(self.fov_mm / self.pixel_mm)

    def _check(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise ConfigError(
                f"AcquisitionProtocol.{name}: got {value}, allowed: {low:g} to {high:g}"
            )


CLINICAL = AcquisitionProtocol()
"""A clinical examination with all its imperfections."""

COHORT = AcquisitionProtocol(
    name="cohort",
    n_sa_slices=11,
    thickness_mm=2.0,
    slice_spacing_mm=12.5,
    pixel_mm=3.0,
    fov_mm=192.0,
    n_phases=6,
    n_radial_planes=5,
    noise_sd=0.01,
    coil_bias=0.0,
    intensity_scale_sd=0.0,
    breath_hold_sd_mm=(0.0, 0.0, 0.0),
    breath_hold_sd_deg=0.0,
    planning_sd_mm=0.0,
    planning_sd_deg=0.0,
    rr_mean_ms=900.0,
    rr_sd_fraction=0.0,
    n_sub_pixels=1,
    n_profile=1,
    is_blurred=False,
    has_random_times=True,
)
"""Aligned, thin and cheap: what a prior learns from. Few planes, phases and pixels of many hearts
teach more than many of few: what one heart does not show, others do. The images reach beyond the
region that a decoder models: what no training image shows, a fit must not be asked about."""

COHORT_STACK_MM = 138.0

TAGGED_2D = AcquisitionProtocol(
    name="tagged-2d",
    pixel_mm=1.4,
    thickness_mm=8.0,
    fov_mm=280.0,
    n_phases=25,
    noise_sd=0.03,
    coil_bias=0.1,
    breath_hold_sd_mm=(0.0, 0.0, 0.0),
    breath_hold_sd_deg=0.0,
    sa_levels=(0.55,),
    has_long_axis=False,
)
"""One tagged SA slice in the middle of the LV."""

TAGGED_3SA = replace(TAGGED_2D, name="tagged-3sa", sa_levels=(0.80, 0.55, 0.30))
"""Tagged SA slices at base, middle and apex, as UK Biobank takes them."""

TAGGED_3D = replace(
    TAGGED_2D,
    name="tagged-3d",
    sa_levels=(0.90, 0.76, 0.62, 0.48, 0.34, 0.20),
    has_long_axis=True,
)
"""Six tagged SA slices and the three long-axis planes."""

TAGGED_SHARE = 0.85
"""Of the cycle: tagged movies beside a cine are triggered prospectively."""

TAGGED_PRESETS = {p.name: p for p in (TAGGED_2D, TAGGED_3SA, TAGGED_3D)}
PRESETS = {p.name: p for p in (CLINICAL, COHORT)} | TAGGED_PRESETS


def preset(name: str) -> AcquisitionProtocol:
    """The preset of this name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset: got {name!r}, allowed: {', '.join(PRESETS)}")
    return PRESETS[name]


def sample_protocol(seed: int | np.random.Generator, name: str = "clinical") -> AcquisitionProtocol:
    """A preset, varied as examinations vary: "cohort" in where its planes lie only,
    tagged ones in pixels, phases, noise and heart rate."""
    base = preset(name)
    rng = np.random.default_rng(seed)
    if name == COHORT.name:
        n = int(rng.integers(9, 14))
        n_radial = int(rng.integers(4, 8))
        return replace(
            base, n_sa_slices=n, slice_spacing_mm=COHORT_STACK_MM / n, n_radial_planes=n_radial
        )
    if name in TAGGED_PRESETS:
        return _sampled_tagged(base, rng)
    return replace(
        base,
        thickness_mm=float(rng.choice([6.0, 7.0, 8.0])),
        slice_spacing_mm=float(rng.uniform(8.0, 10.0)),
        pixel_mm=float(rng.uniform(1.4, 1.9)),
        fov_mm=float(rng.uniform(300.0, 360.0)),
        n_phases=int(rng.integers(25, 51)),
        noise_sd=float(rng.uniform(0.01, 0.035)),
        coil_bias=float(rng.uniform(0.05, 0.25)),
        rr_mean_ms=float(rng.uniform(650.0, 1100.0)),
        rr_sd_fraction=float(rng.uniform(0.02, 0.06)),
    )


def tagged_beside(tagged: AcquisitionProtocol, cine: AcquisitionProtocol) -> AcquisitionProtocol:
    """A tagged protocol in the examination of a cine: breath-holds and heart beat are the
    patient's."""
    return replace(
        tagged,
        breath_hold_sd_mm=cine.breath_hold_sd_mm,
        breath_hold_sd_deg=cine.breath_hold_sd_deg,
        rr_mean_ms=cine.rr_mean_ms,
        rr_sd_fraction=cine.rr_sd_fraction,
        cycle_share=TAGGED_SHARE,
    )


def _sampled_tagged(base: AcquisitionProtocol, rng: np.random.Generator) -> AcquisitionProtocol:
    return replace(
        base,
        thickness_mm=float(rng.choice([6.0, 7.0, 8.0])),
        pixel_mm=float(rng.uniform(1.2, 1.6)),
        n_phases=int(rng.integers(20, 31)),
        noise_sd=float(rng.uniform(0.02, 0.04)),
        coil_bias=float(rng.uniform(0.05, 0.20)),
        rr_mean_ms=float(rng.uniform(650.0, 1100.0)),
    )
