"""Files for tests of workflows and the command line: a small study, its prior, quick settings."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from NISFCore.data.nifti_manifest import write_nifti_study
from NISFCore.model.config import HeartRegion
from NISFCore.model.decoder import Decoder
from NISFCore.model.prior import Prior
from NISFCore.phantom import cohort, protocol
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.views import CARDIAC_VIEWS, View
from Testing.Core.fitting.teacher import teacher_prior, teacher_study

QUICK_FIT: dict[str, Any] = {"gauss_newton": {"voxels": [512, 512, 512]}}
ENDLESS_FIT: dict[str, Any] = {
    "gauss_newton": None,
    "adam": {"n_steps": 1_000_000, "n_voxels": 256},
}
QUICK_TRAINING: dict[str, Any] = {
    "decoder": {"n_latent": 4, "width": 16, "n_blocks": 1, "layers_per_block": 1},
    "n_steps": 10,
    "voxels_per_step": 256,
    "n_validation_subjects": 0,
    "checkpoint_every": 5,
}


def write_study(folder: Path, views: tuple[View, ...] = CARDIAC_VIEWS, seed: int = 0) -> Path:
    """A study of four phases as NIfTI; its exact answer is `teacher_study` of the same seed."""
    write_nifti_study(teacher_study(views, seed, n_psf_nodes=1, n_phases=4).study, folder)
    return folder


@cache
def small_prior() -> Prior:
    """The teacher's prior of a smaller region: less to render and to export."""
    whole = teacher_prior()
    region = HeartRegion((14.0, 0.0, 4.0), (40.0, 36.0, 42.0))
    config = replace(whole.info.decoder, region=region)
    decoder = Decoder(config)
    decoder.load_state_dict(whole.decoder.state_dict())
    info = replace(whole.info, decoder=config)
    return replace(whole, info=info, decoder=decoder.requires_grad_(False).eval())


def write_prior(path: Path) -> Path:
    small_prior().save(path)
    return path


def write_json(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def use_coarse_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated examinations with few, large pixels: seconds instead of minutes."""
    clinical = replace(
        protocol.CLINICAL,
        n_sa_slices=5,
        pixel_mm=4.0,
        fov_mm=200.0,
        n_phases=4,
        n_sub_pixels=1,
        n_profile=1,
    )
    aligned = replace(protocol.COHORT, pixel_mm=5.0, n_phases=4, n_sa_slices=4, n_radial_planes=2)
    coarse = {"clinical": clinical, "cohort": aligned}

    def sample(seed: object, name: str) -> AcquisitionProtocol:
        del seed
        return coarse[name]

    monkeypatch.setattr(cohort, "sample_protocol", sample)
