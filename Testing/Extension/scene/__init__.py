"""Tests of the scene side on real MRML. Without slicer-core they are left out (conftest.py)."""
