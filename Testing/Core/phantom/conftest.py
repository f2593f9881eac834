"""Hearts and a quick protocol, shared by the phantom's tests."""

from dataclasses import replace

import pytest

from NISFCore.phantom import CLINICAL, BeatingHeart, HeartParameters, Mode, sample_heart
from NISFCore.phantom.protocol import AcquisitionProtocol

SCARRED_SEED = 21


def scarred_heart() -> HeartParameters:
    """A heart with a regional wall-motion abnormality: nothing in it is axially symmetric."""
    return sample_heart(SCARRED_SEED, Mode.REDUCED_EF)


@pytest.fixture(scope="session")
def average_heart() -> BeatingHeart:
    return BeatingHeart(HeartParameters())


@pytest.fixture(scope="session", params=list(Mode), ids=[m.value for m in Mode])
def any_heart(request: pytest.FixtureRequest) -> BeatingHeart:
    return BeatingHeart(sample_heart(SCARRED_SEED, request.param))


@pytest.fixture(scope="session")
def quick() -> AcquisitionProtocol:
    """Clinical in kind, coarse in sampling."""
    return replace(
        CLINICAL, n_sa_slices=8, pixel_mm=4.0, fov_mm=200.0, n_phases=4, n_sub_pixels=1, n_profile=1
    )


@pytest.fixture(scope="session")
def exact(quick: AcquisitionProtocol) -> AcquisitionProtocol:
    """Without noise, bias, scale, blur or misalignment."""
    return replace(
        quick,
        noise_sd=0.0,
        coil_bias=0.0,
        intensity_scale_sd=0.0,
        breath_hold_sd_mm=(0.0, 0.0, 0.0),
        breath_hold_sd_deg=0.0,
        is_blurred=False,
    )
