"""What is computed from a fitted heart: rendered grids, surfaces, volumes, metrics."""
