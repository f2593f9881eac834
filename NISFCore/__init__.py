"""NISF: neural implicit reconstruction of the beating heart from 2D cine MR slices.

Spaces, units and shapes are stated in `docs/conventions.md`. Importing this package is fast:
torch is loaded only by the sub-packages that compute with it.

Research use only: not a medical device.
"""

from NISFCore._version import __version__

__all__ = ["__version__"]
