"""How well an estimate explains the images: what starts are compared by."""

import numpy as np
import torch

from NISFCore.fitting.problem import VOXELS_PER_PART, Estimate, FitProblem
from NISFCore.model.forward_model import predict
from NISFCore.model.losses import noise_loss
from NISFCore.model.psf import PsfConfig

N_VOXELS = 8192


def misfit(problem: FitProblem, estimate: Estimate, psf: PsfConfig) -> float:
    """Negative logarithm of the likelihood per voxel in decibels (see `losses.noise_loss`), on
    voxels that are the same for every estimate of a problem."""
    generator = torch.Generator(problem.device).manual_seed(0)
    table, decoder, losses = problem.table, problem.prior.decoder, []
    for part in table.sample(N_VOXELS, generator).split(VOXELS_PER_PART):
        with torch.inference_mode():
            p = predict(decoder, part, table.slices, estimate.latent, estimate.poses, psf)
            losses.append(float(noise_loss(p.intensity, part.intensity, p.noise_sd)))
    return float(np.mean(losses))
