"""Stand-ins for what only a running 3D Slicer has. Test code."""
