"""What a benchmark runs: `QUICK` for the figures, `FULL` for all tables of the documentation.

Subject k of the cohort is made from `BENCHMARK_SEED` and k alone, so both plans, and every later
version, see the same hearts in the same positions. No prior was trained on this seed, and nothing
was tuned on it.
"""

from dataclasses import dataclass, replace

from NISFCore.errors import ConfigError

BENCHMARK_SEED = 4_242_424
ACCURACY_LEVEL_MM = 4.0
"""Misalignment at which everything but the dependence on misalignment is measured."""
DEGREES_PER_MM = 0.5
"""A level of 4 mm comes with 2 degrees."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """One benchmark.

    Attributes:
        name: quick or full.
        n_subjects: of the test cohort.
        n_phases: frames per cycle of each simulated cine.
        levels_mm: misalignments of the slices against each other; holds `ACCURACY_LEVEL_MM`.
        n_plane_phases: frames of each slice that are compared with the reconstruction.
        dense_spacing_mm, n_dense_phases: grid in 3D+t for Dice and volumes.
        surface_spacing_mm: grid on which surface distances are measured.
        n_classical, n_held_out, n_psf, n_speed: first subjects on which the classical baselines,
            the held-out views, the PSF ablation and the solvers' speed are measured.
        paper_voxels: voxels per step with which the paper's descent is followed to its plateau.
        n_paper_steps: steps of it (paper: 2500).
        n_paper_check_steps: steps with all of the paper's 35,000 voxels, which check that the
            smaller batches follow the same path.
        export_spacing_mm, n_export_phases: of the export whose speed is measured.
        n_process_runs: whole `nisf fit` processes that are timed; the median counts.
        seed: of the cohort.
    """

    name: str
    n_subjects: int
    n_phases: int
    levels_mm: tuple[float, ...]
    n_plane_phases: int
    dense_spacing_mm: float
    n_dense_phases: int
    surface_spacing_mm: float
    n_classical: int
    n_held_out: int
    n_psf: int
    n_speed: int
    paper_voxels: int
    n_paper_steps: int = 2500
    n_paper_check_steps: int = 0
    export_spacing_mm: float = 1.0
    n_export_phases: int = 30
    n_process_runs: int = 1
    seed: int = BENCHMARK_SEED

    def __post_init__(self) -> None:
        if self.n_subjects < 1:
            raise ConfigError(f"subjects: got {self.n_subjects}, at least 1")
        if ACCURACY_LEVEL_MM not in self.levels_mm:
            raise ConfigError(f"levels_mm: got {self.levels_mm}, must hold {ACCURACY_LEVEL_MM:g}")

    def with_subjects(self, n_subjects: int) -> "BenchmarkPlan":
        """The same on another number of subjects."""
        return replace(self, n_subjects=n_subjects)


QUICK = BenchmarkPlan(
    name="quick",
    n_subjects=3,
    n_phases=12,
    levels_mm=(0.0, 4.0, 8.0),
    n_plane_phases=4,
    dense_spacing_mm=3.0,
    n_dense_phases=12,
    surface_spacing_mm=1.5,
    n_classical=0,
    n_held_out=0,
    n_psf=0,
    n_speed=2,
    paper_voxels=1024,
)
FULL = BenchmarkPlan(
    name="full",
    n_subjects=20,
    n_phases=25,
    levels_mm=(0.0, 2.0, 4.0, 8.0),
    n_plane_phases=8,
    dense_spacing_mm=2.5,
    n_dense_phases=25,
    surface_spacing_mm=1.5,
    n_classical=20,
    n_held_out=10,
    n_psf=10,
    n_speed=3,
    paper_voxels=4096,
    n_paper_check_steps=150,
    n_process_runs=3,
)
PLANS = {plan.name: plan for plan in (QUICK, FULL)}
