"""Spaces, rigid motion, imaging planes, grids and the canonical heart frame.

Maps are named `target_from_source` and are 4x4 float64 matrices acting on column vectors; points
are arrays `(..., 3)` whose name carries their space (`points_ras`). See `spaces.Space`.
"""
