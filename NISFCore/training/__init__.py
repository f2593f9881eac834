"""Training a prior on a cohort of labelled studies (paper section 3.3)."""
