"""Configuration of the decoder. `PAPER` is the paper's network, `DEFAULT` the shipped one."""

from dataclasses import dataclass

from NISFCore.errors import ConfigError


@dataclass(frozen=True)
class HeartRegion:
    """The ellipsoid of canonical space (mm) that is modelled; voxels outside are not used.

    It is centred towards the RV because the origin lies on the LV axis; of 24 simulated hearts
    0.2 % of the volume lie outside.
    """

    centre_mm: tuple[float, float, float] = (18.0, 4.0, 12.0)
    semi_axes_mm: tuple[float, float, float] = (78.0, 70.0, 84.0)

    def __post_init__(self) -> None:
        if not min(self.semi_axes_mm) > 0:
            raise ConfigError(f"HeartRegion.semi_axes_mm: got {self.semi_axes_mm}, must be > 0")


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of the decoder.

    Attributes:
        n_latent: size of the subject code h (paper: 128).
        width, n_blocks, layers_per_block: hidden ReLU layers (paper: 256, 4, 4).
        n_space_bands, n_time_bands: encoding frequencies (paper: 7, 5).
        half_extent_mm: canonical distance that the encoding maps to 1.
        predicts_noise: whether a further output says how far intensities are to be trusted at each
            point: the heart is predictable, the lung's vessels are not (not in the paper).
        region: the part of space that the decoder knows.
    """

    n_latent: int = 128
    width: int = 192
    n_blocks: int = 3
    layers_per_block: int = 2
    n_space_bands: int = 6
    n_time_bands: int = 3
    half_extent_mm: float = 100.0
    predicts_noise: bool = True
    region: HeartRegion = HeartRegion()

    def __post_init__(self) -> None:
        for name in ("n_latent", "width", "n_blocks", "layers_per_block", "n_space_bands"):
            if getattr(self, name) < 1:
                raise ConfigError(f"DecoderConfig.{name}: got {getattr(self, name)}, at least 1")
        if self.n_time_bands < 0:
            raise ConfigError(f"DecoderConfig.n_time_bands: got {self.n_time_bands}, at least 0")
        if not self.half_extent_mm > 0:
            raise ConfigError(
                f"DecoderConfig.half_extent_mm: got {self.half_extent_mm}, must be > 0"
            )


DEFAULT = DecoderConfig()
PAPER = DecoderConfig(
    width=256,
    n_blocks=4,
    layers_per_block=4,
    n_space_bands=7,
    n_time_bands=5,
    predicts_noise=False,
)
