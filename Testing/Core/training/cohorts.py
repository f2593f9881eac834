"""Small cohorts on disk: slices of one small decoder, with labels, one latent per subject."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from NISFCore.data.nifti_manifest import write_nifti_study
from NISFCore.data.study import CineSlice, SliceLabels
from NISFCore.labels import Label
from NISFCore.model.config import DecoderConfig
from NISFCore.training.config import TrainingConfig
from NISFCore.views import View
from Testing.Core.fitting.teacher import teacher_study

CONFIG = TrainingConfig(
    decoder=DecoderConfig(n_latent=4, width=16, n_blocks=1, layers_per_block=1),
    n_steps=12,
    voxels_per_step=128,
    n_validation_subjects=0,
    validate_every=1000,
    checkpoint_every=4,
)


def write_cohort(folder: Path, n_subjects: int = 2, outside_lv: int | None = None) -> Path:
    """Aligned subjects with four slices and two phases, as `nisf simulate` lays them out.

    Args:
        outside_lv: stands in the label maps where the LV is not; the true labels if not given.
    """
    for k in range(n_subjects):
        study = teacher_study(
            (View.SA, View.LA_4CH),
            seed=k,
            motion_mm=0.0,
            motion_deg=0.0,
            n_psf_nodes=1,
            n_phases=2,
        ).study
        slices = study.slices[::2]
        if outside_lv is not None:
            slices = tuple(_with_lv_alone(cine, outside_lv) for cine in slices)
        few = replace(study, slices=slices, subject=f"subject {k + 1}")
        write_nifti_study(few, folder / f"subject_{k + 1:04d}" / "images")
    return folder


def _with_lv_alone(cine: CineSlice, outside: int) -> CineSlice:
    assert cine.labels is not None
    is_lv = np.isin(cine.labels.values, (Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM))
    values = np.where(is_lv, cine.labels.values, np.uint8(outside))
    return replace(cine, labels=SliceLabels(values, cine.labels.annotated))
