"""Tables of `nisf benchmark motion`."""

from collections.abc import Sequence

from NISFCore.benchmark.figures import mean
from NISFCore.benchmark.motion_figures import (
    FIGURES,
    MotionParts,
    Part,
    dysfunction_ratio,
    headline,
    missing,
)
from NISFCore.benchmark.motion_plan import Arm, Group, MotionPlan
from NISFCore.benchmark.tables import Cell, Table

SCORES = ("rmse_mm", "gcs_points", "segmental_points", "grs_points")
SEGMENTS = ("dysfunctional_points", "healthy_points")


def all_tables(parts: MotionParts, plan: MotionPlan) -> list[Table]:
    """Every table that has rows."""
    trajectories = [score_table(parts, plan, name) for name in SCORES]
    found = [
        headline_table(parts),
        usual_table(parts),
        space_table(parts),
        *trajectories,
        group_table(parts),
        dysfunction_table(parts, plan),
        rate_table(parts),
        seconds_table(parts),
    ]
    return [table for table in found if table.rows]


def headline_table(parts: MotionParts) -> Table:
    """The figures of `benchmark.json`."""
    values = headline(parts)
    why = missing(values)
    rows = tuple((f.key, why.get(f.key) or values[f.key], f.definition) for f in FIGURES)
    return Table("figures", "Headline figures", ("figure", "value", "definition"), rows)


def usual_table(parts: MotionParts) -> Table:
    """The usual fit by group."""
    rows: list[tuple[Cell, ...]] = []
    for name, chosen in grouped(parts.usuals):
        keys = ("still_mm", *SCORES, *SEGMENTS, "seconds")
        rows.append((name, len(chosen), *(mean(s[key] for s in chosen) for key in keys)))
    columns = ("group", "subjects", "motion mm", *SCORES, *SEGMENTS, "seconds")
    title = "The usual fit of a tagged plane (Gauss-Newton), means over subjects"
    return Table("usual", title, columns, tuple(rows))


def space_table(parts: MotionParts) -> Table:
    """Fits in space by group."""
    keys = (*SCORES, "gls_points", *SEGMENTS, "seconds")
    rows: list[tuple[Cell, ...]] = []
    for name, chosen in grouped(parts.spaces):
        rows.append((name, len(chosen), *(mean(s[key] for s in chosen) for key in keys)))
    title = "The usual fit of six short-axis and three long-axis tagged planes, means over subjects"
    return Table("space", title, ("group", "subjects", *keys), tuple(rows) if parts.spaces else ())


def score_table(parts: MotionParts, plan: MotionPlan, score: str) -> Table:
    """One score of every arm after every budget."""
    steps = ["0", *(str(n) for n in plan.budgets)]
    rows = tuple((arm.value, *(_arm_mean(parts.arms, arm, n, score) for n in steps)) for arm in Arm)
    title = f"{score} after so many steps, mean over {len(parts.arms)} subjects"
    columns = ("initialisation", *(f"{n} steps" for n in steps))
    return Table(f"steps_{score}", title, columns, rows if parts.arms else ())


def group_table(parts: MotionParts) -> Table:
    """RMSE at step 0 and after 20 steps by group."""
    rows = []
    for arm in Arm:
        cells: list[Cell] = [arm.value]
        for _, chosen in grouped(parts.arms):
            cells += [_arm_mean(chosen, arm, n, "rmse_mm") for n in ("0", "20")]
        rows.append(tuple(cells))
    names = [name for name, _ in grouped(parts.arms)]
    columns = ("initialisation", *(f"{name}, {n}" for name in names for n in ("0", "20")))
    return Table("groups", "rmse_mm by group, before and after 20 steps", columns, tuple(rows))


def dysfunction_table(parts: MotionParts, plan: MotionPlan) -> Table:
    """Error in dysfunctional segments over that in healthy ones of the same hearts."""
    steps = ["0", *(str(n) for n in plan.budgets)]
    rows: list[tuple[Cell, ...]] = []
    for arm in Arm:
        by_step = [[part["arms"][arm.value][n] for part in parts.arms] for n in steps]
        rows.append((arm.value, *(dysfunction_ratio(scores) for scores in by_step)))
    for name, scores in (("usual fit", parts.usuals), ("usual fit in space", parts.spaces)):
        rows.append((name, dysfunction_ratio(scores), *(None for _ in plan.budgets)))
    columns = ("initialisation", *(f"{n} steps" for n in steps))
    title = "Error of circumferential strain: dysfunctional segments over healthy ones"
    return Table("dysfunction", title, columns, tuple(rows) if parts.arms else ())


def rate_table(parts: MotionParts) -> Table:
    """Each arm's tuned rates."""
    found = parts.tuning.get("rates", {})
    budgets = sorted({n for rates in found.values() for n in rates}, key=int)
    rows = tuple((arm, *(f"{rates[n]:g}" for n in budgets)) for arm, rates in found.items())
    title = "Rates, tuned on other hearts"
    return Table("rates", title, ("initialisation", *(f"{n} steps" for n in budgets)), rows)


def seconds_table(parts: MotionParts) -> Table:
    """Processor seconds of start and descents."""
    rows = []
    for arm in Arm:
        found = [part["arms"][arm.value] for part in parts.arms]
        start = mean(f["start_seconds"] for f in found)
        rows.append((arm.value, start, mean(f["20"]["descent_seconds"] for f in found)))
    columns = ("initialisation", "start", "20 steps")
    title = "Processor seconds of one thread, mean over subjects"
    return Table("seconds", title, columns, tuple(rows) if parts.arms else ())


def grouped(found: Sequence[Part]) -> list[tuple[str, list[Part]]]:
    """All, then each group that there is."""
    groups = [(g.value, [p for p in found if p["group"] == g.value]) for g in Group]
    return [("all", list(found)), *((name, chosen) for name, chosen in groups if chosen)]


def _arm_mean(arms: Sequence[Part], arm: Arm, steps: str, score: str) -> float:
    return mean(part["arms"][arm.value][steps][score] for part in arms)
