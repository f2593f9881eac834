"""Fitting one study: latent, global pose, slice motion and intensity scales."""
