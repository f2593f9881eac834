"""What all tests share: deterministic property tests, and the shared real study."""

from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parent.parent
REAL_STUDY = REPOSITORY.parent / "shared" / "data" / "bivme-patient1"
N_RETRIES_OF_TIMED = 2
"""A busy machine may miss a time limit; software that is too slow misses it every time."""

settings.register_profile(
    "nisf", derandomize=True, database=None, deadline=None, max_examples=40, print_blob=False
)
settings.load_profile("nisf")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a time limit may try again; all others pass at once or fail."""
    for item in items:
        if item.get_closest_marker("timed") is not None:
            item.add_marker(pytest.mark.flaky(reruns=N_RETRIES_OF_TIMED))


@pytest.fixture(scope="session")
def real_study_folder() -> Path:
    """The de-identified real study beside the checkout; tests that use it carry `real_study`."""
    if not REAL_STUDY.is_dir():
        pytest.skip("the shared real study is not beside this checkout")
    return REAL_STUDY
