"""Settings of a displacement field and of the solvers that fit it."""

from dataclasses import dataclass

from NISFCore.errors import ConfigError

SIREN, FOURIER = "siren", "fourier"


@dataclass(frozen=True)
class NetworkConfig:
    """The residual network of a field: place in, movement between knots out.

    Attributes:
        kind: "siren" (sine layers), or "fourier" (fixed random Fourier features, GELU layers).
        width, n_layers: of the hidden layers.
        omega: of the first sine layer, in radians per radius of the heart; for "fourier" the
            standard deviation of the features' frequencies.
    """

    kind: str = SIREN
    width: int = 64
    n_layers: int = 2
    omega: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in (SIREN, FOURIER):
            raise ConfigError(f"NetworkConfig.kind: got {self.kind!r}, allowed: siren, fourier")
        if self.width < 2 or self.width % 2 or self.n_layers < 1:
            raise ConfigError(
                f"NetworkConfig: got width {self.width}, n_layers {self.n_layers}; the width is "
                "even and at least 2, and there is at least 1 layer"
            )
        if not self.omega > 0:
            raise ConfigError(f"NetworkConfig.omega: got {self.omega}, must be positive")


@dataclass(frozen=True)
class StartConfig:
    """Gauss-Newton start on tag phase: last layer of a random-feature sine layer.

    Attributes:
        n_features, omega: of the layer; omega in radians per radius of the heart.
        band_width: of the HARP band-pass, standard deviation over the tags' spatial frequency.
        ridge: penalty of the coefficients, per point.
        n_iterations: per frame.
        extrapolation: share of the last frame's change that the next one starts with.
        seed: of the features.
    """

    n_features: int = 96
    omega: float = 2.0
    band_width: float = 0.3
    ridge: float = 3e-3
    n_iterations: int = 3
    extrapolation: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_features < 1 or self.n_iterations < 0:
            raise ConfigError("StartConfig: n_features must be >= 1, n_iterations >= 0")
        for name in ("omega", "band_width", "ridge"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"StartConfig.{name}: got {getattr(self, name)}, must be positive"
                )


@dataclass(frozen=True)
class FieldConfig:
    """What a displacement field is made of.

    Attributes:
        n_dims: 2 within an imaging plane, 3 in space.
        knots: of the temporal basis (`temporal.ramp_basis`), cycle fractions from 0.
        is_cyclic: whether the tissue returns to ED at the end of the cycle.
        network, n_features, omega, seed, lowest_omega: the residual network; the random-feature
            layer (`network.RandomFeatures`).
    """

    n_dims: int
    knots: tuple[float, ...]
    is_cyclic: bool = False
    network: NetworkConfig = NetworkConfig()
    n_features: int = 96
    omega: float = 2.0
    seed: int = 0
    lowest_omega: float | None = None

    def __post_init__(self) -> None:
        if self.n_dims not in (2, 3):
            raise ConfigError(f"FieldConfig.n_dims: got {self.n_dims}, allowed: 2, 3")

    @property
    def n_steps(self) -> int:
        """Intervals between knots."""
        return len(self.knots) - 1


@dataclass(frozen=True)
class DescentConfig:
    """Adam on all weights of a field.

    Attributes:
        n_steps: of Adam.
        coefficient_rate: of what is linear: coefficients of the random features, last layer.
        network_rate: of the network's other layers.
        final_rate: the last step's rate over the first one's.
        opening_share: share of the steps during which frames are opened one after another; 0
            looks at all of them from the first step.
        volume_weight: of `regularisers.volume_penalty`.
        contour_weight, contour_huber_mm: of `border_distance.BorderDistance`; weight 0 leaves
            labels out.
        n_points: drawn at each step for the penalty.
        seed: of the draws.
    """

    n_steps: int = 100
    coefficient_rate: float = 1e-4
    network_rate: float = 1e-3
    final_rate: float = 0.05
    opening_share: float = 0.0
    volume_weight: float = 0.5
    contour_weight: float = 0.1
    contour_huber_mm: float = 2.0
    n_points: int = 512
    seed: int = 0


@dataclass(frozen=True)
class RefinementConfig:
    """Gauss-Newton on phases, images and labels, frame after frame (`refinement.track`).

    Attributes:
        n_iterations: per stage (phase, then intensity) and frame.
        ridge: damping, over the mean of the normal matrix's diagonal.
        extrapolation: share of the last frame's change that the next one is expected to go on.
        inertia: of a point's squared distance in mm^2 from where it is expected.
        phase_weight: of a point's squared phase error, in the first stage.
        window_mm: standard deviation of the windows of local normalisation.
        tag_huber: residuals (in units of the tags' contrast) beyond this count linearly.
        contour_weight: of a border point's squared distance in mm^2, without tags; 0 leaves labels
            out.
        wall_weight, position_doubt: of the wall's thickness and of where it is, with tags: `weight`
            and `growth` of `wall_labels.WallTerm`; weight 0 leaves labels out.
        start_doubt: the same growth before tags are looked at: where labels say that the wall is, a
            tag is not taken for its neighbour.
        contour_huber_mm: distances beyond this count linearly.
        volume_weight: of a point's squared deviation of log det F.
        smoothing: of a point's squared distance in mm^2 from where the frames on both sides lead
            to, in a second pass; less for frames farther apart than 4 % of the cycle
            (`refinement.trust_between`); 0 leaves that out.
        has_second_try: whether a tagged plane whose tissue moves far between two frames is tracked
            again, led by a learned prior (`second_try`).
    """

    n_iterations: int = 2
    ridge: float = 1e-4
    extrapolation: float = 0.7
    inertia: float = 0.01
    phase_weight: float = 0.3
    window_mm: float = 4.0
    tag_huber: float = 1.0
    contour_weight: float = 0.7
    wall_weight: float = 0.3
    position_doubt: float = 18.0
    start_doubt: float = 6.0
    contour_huber_mm: float = 2.0
    volume_weight: float = 3.0
    smoothing: float = 0.1
    has_second_try: bool = True

    def __post_init__(self) -> None:
        if self.n_iterations < 0 or not self.ridge > 0 or not self.window_mm > 0:
            raise ConfigError(
                "RefinementConfig: n_iterations must be >= 0, ridge and window_mm positive"
            )


@dataclass(frozen=True)
class CineConfig:
    """What untagged images say (`cine`).

    Attributes:
        reach_mm: how far around the wall images are compared: the wall itself has no pattern, its
            borders do.
        blur_pixels: standard deviation of the images' blur in the first stage.
        intensity_weight: of a point's squared intensity difference, in units of the frame's mean.
        intensity_huber: differences beyond this count linearly, in the same units.
        sliding_weight: of a point's squared movement in mm^2 around the LV's axis.
        taper_mm: of `through_plane.follow_expected_tissue`, in a single plane: what tissue from
            nearer the base is wider by, on average over simulated hearts; 0 leaves that out.
    """

    reach_mm: float = 4.0
    blur_pixels: float = 1.5
    intensity_weight: float = 1.0
    intensity_huber: float = 0.3
    sliding_weight: float = 0.05
    taper_mm: float = 1.5

    def __post_init__(self) -> None:
        if self.reach_mm < 0 or self.blur_pixels < 0 or not self.intensity_huber > 0:
            raise ConfigError(
                "CineConfig: reach_mm and blur_pixels must not be negative, intensity_huber must "
                "be positive"
            )


@dataclass(frozen=True)
class SpaceConfig:
    """What differs where several planes are solved together, in space.

    Attributes:
        n_features, omega, lowest_omega: of the field's random features, as `FieldConfig`.
        ridge: of a coefficient's squared distance in mm^2 from what is expected.
        smoothness, axial_smoothness: of the mean squared gradient, by place in radii of the heart,
            of what the tissue's movement in mm differs by from what is expected, across and along
            the LV's axis.
        n_points: of one plane's wall, at which its images are looked at; all pixels if fewer.
        n_image_points: the same of an untagged plane.
        n_volume_points: of the wall, where its volume is kept.
        n_iterations, inertia, phase_weight, tag_weight, volume_weight, contour_weight,
            contour_huber_mm: as `RefinementConfig`; the weight of the tags' intensities is that of
            a point's squared residual.
        smoothing: as `RefinementConfig`, of tagged planes.
        heart_tag_weight: what tags count more beside the borders of a fitted heart, which are wrong
            together where they are, than beside labels.
        heart_weight, heart_huber_mm, heart_volume_weight: of a border point's distance, where the
            borders are those of a heart that was fitted, and `volume_weight` there.
        intensity_weight: as `CineConfig`.
        image_reach_mm: standard deviation of how far tissue may leave a plane until an untagged
            image there says nothing of it.
    """

    n_features: int = 200
    omega: float = 1.5
    lowest_omega: float = 0.05
    ridge: float = 0.03
    smoothness: float = 3.0
    axial_smoothness: float = 100.0
    n_points: int = 600
    n_image_points: int = 200
    n_volume_points: int = 1200
    n_iterations: int = 2
    inertia: float = 0.0
    smoothing: float = 0.1
    phase_weight: float = 1.0
    tag_weight: float = 3.0
    volume_weight: float = 3.0
    contour_weight: float = 0.4
    contour_huber_mm: float = 2.0
    heart_tag_weight: float = 10.0
    heart_weight: float = 0.5
    heart_huber_mm: float = 3.0
    heart_volume_weight: float = 10.0
    intensity_weight: float = 1.0
    image_reach_mm: float = 3.0

    def __post_init__(self) -> None:
        if self.n_features < 1 or self.n_points < 1 or self.n_volume_points < 1:
            raise ConfigError("SpaceConfig: numbers of features and points must be positive")


@dataclass(frozen=True)
class MotionConfig:
    """One estimate of motion: the field, how its start is found, and the descent after it.

    Attributes:
        descent: None ends with the Gauss-Newton solution.
    """

    network: NetworkConfig = NetworkConfig()
    start: StartConfig = StartConfig()
    refinement: RefinementConfig = RefinementConfig()
    cine: CineConfig = CineConfig()
    space: SpaceConfig = SpaceConfig()
    descent: DescentConfig | None = None


DEFAULT = MotionConfig()
