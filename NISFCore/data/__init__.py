"""Cine studies and the readers that make them. No other layer knows a file format of images."""
