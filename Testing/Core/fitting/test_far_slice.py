"""A slice that lies much farther off than the others is found."""

from dataclasses import replace

import numpy as np

from NISFCore.benchmark.misalignment import before_after
from NISFCore.benchmark.plan import QUICK
from NISFCore.benchmark.subjects import simulate
from NISFCore.fitting.config import DEFAULT, DEFAULT_SOLVER, CrossingConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.model.prior import load_prior

SEED, NUMBER = 31_337, 2
"""A development heart whose slice near the apex lies 14.5 mm off, on average they are 9 mm."""


def test_a_slice_far_off_is_found_from_much_blurred_images() -> None:
    simulated, prior = simulate(replace(QUICK, seed=SEED), NUMBER, 8.0), load_prior()

    def farthest_mm(crossing: CrossingConfig) -> float:
        config = replace(DEFAULT, gauss_newton=replace(DEFAULT_SOLVER, crossing=crossing))
        result = fit_study(simulated.study, prior, config, device="cpu")
        found = before_after(result, simulated.truth)["after"]["distance_mm"]
        return float(np.max(found))

    assert farthest_mm(CrossingConfig()) < 3.0
    assert farthest_mm(CrossingConfig(blur_mm=(4.0, 2.0, 1.0))) > 6.0
