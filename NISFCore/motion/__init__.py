"""Cardiac motion: displacement of the tissue over the cycle, and its strain (`docs/motion.md`)."""
