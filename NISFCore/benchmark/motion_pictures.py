"""The trajectory figure of `nisf benchmark motion`."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from NISFCore.benchmark.motion_figures import MotionParts
from NISFCore.benchmark.motion_plan import Arm, MotionPlan
from NISFCore.benchmark.motion_tables import grouped
from NISFCore.benchmark.pictures import as_png
from NISFCore.export.figures import CHART_STYLE, INK, MUTED

COLOURS = {
    Arm.RANDOM: MUTED,
    Arm.POPULATION: "#0090ff",
    Arm.CONSENSUS: "#30a46c",
    Arm.AUTO_DECODER: "#e5484d",
    Arm.META: "#8e4ec6",
    Arm.MODES: "#f5a623",
    Arm.PHASE: INK,
}
SHOWN = ("all", "large motion", "distant family")


def trajectories(parts: MotionParts, plan: MotionPlan) -> bytes:
    """RMSE over steps, every arm: all subjects, and the two groups that are hardest for a prior."""
    steps = [0, *plan.budgets]
    chosen = [(name, found) for name, found in grouped(parts.arms) if name in SHOWN]
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(4.0 * len(chosen), 3.8), layout="constrained")
        axes = figure.subplots(1, len(chosen), squeeze=False)[0]
        for ax, (name, planes) in zip(axes, chosen, strict=True):
            for arm in Arm:
                values = [
                    np.mean([p["arms"][arm.value][str(n)]["rmse_mm"] for p in planes])
                    for n in steps
                ]
                style = "--" if arm is Arm.RANDOM else "-"
                ax.plot(range(len(steps)), values, f"o{style}", ms=3, color=COLOURS[arm])
            ax.set_xticks(range(len(steps)), [str(n) for n in steps])
            ax.set(title=f"{name} ({len(planes)})", xlabel="steps of the descent", yscale="log")
            ax.set_yticks([0.2, 0.3, 0.5, 1.0, 2.0, 3.0], ["0.2", "0.3", "0.5", "1", "2", "3"])
            ax.minorticks_off()
        axes[0].set_ylabel("RMSE of displacement, mm")
        lines = [axes[0].lines[k] for k in range(len(Arm))]
        axes[-1].legend(lines, [arm.value for arm in Arm], frameon=False, fontsize=7)
        return as_png(figure)
