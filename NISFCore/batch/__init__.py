"""Many subjects, each in a process of its own: resumable, and one failure stops nothing else."""
