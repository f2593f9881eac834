"""`QualityReport`: whether a result may be believed, check by check (computed in `analysis`)."""

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What all checks say together."""

    RELIABLE = "reliable"
    CHECK = "check"
    NOT_RELIABLE = "not reliable"


@dataclass(frozen=True)
class QualityFlag:
    """One check of a result.

    Attributes:
        name: stable, for programs.
        value: what was measured; None where it could not be.
        allowed: lowest and highest value that raises no flag; None where there is no limit.
        level: `RELIABLE` if nothing is wrong, else how much.
        source: where the limits come from.
        text: for the user.
    """

    name: str
    value: float | None
    allowed: tuple[float | None, float | None]
    level: Verdict
    source: str
    text: str

    @property
    def is_raised(self) -> bool:
        return self.level is not Verdict.RELIABLE

    @property
    def allowed_text(self) -> str:
        """The range in words."""
        low, high = self.allowed
        if low is None:
            return "any" if high is None else f"at most {high:g}"
        return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"

    @property
    def value_text(self) -> str:
        return "not measurable" if self.value is None else f"{self.value:.3g}"

    @property
    def sentence(self) -> str:
        """What was measured, what is allowed, and what it means."""
        allowed = f"allowed: {self.allowed_text}"
        return f"{self.level.value}: {self.name} = {self.value_text} ({allowed}): {self.text}"


@dataclass(frozen=True)
class QualityReport:
    """All checks of a result.

    Attributes:
        is_guided: whether somebody's labels guided the fit.
        checks: every check that was made, raised or not.
    """

    is_guided: bool
    checks: tuple[QualityFlag, ...]

    @property
    def raised(self) -> tuple[QualityFlag, ...]:
        """The checks that something is wrong with, the worst first."""
        found = [c for c in self.checks if c.is_raised]
        return tuple(sorted(found, key=lambda c: c.level is not Verdict.NOT_RELIABLE))

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks."""
        levels = {check.level for check in self.checks}
        for level in (Verdict.NOT_RELIABLE, Verdict.CHECK):
            if level in levels:
                return level
        return Verdict.RELIABLE

    @property
    def kind(self) -> str:
        """What a result may be called: an initialisation until labels or the checks say more."""
        is_result = self.is_guided or self.verdict is Verdict.RELIABLE
        return "result" if is_result else "initialisation"

    @property
    def headline(self) -> str:
        """One line for the user."""
        if self.verdict is Verdict.RELIABLE:
            return "quality: reliable, no check raised a flag"
        start = "" if self.kind == "result" else "an initialisation, not a measurement; "
        return f"quality: {self.verdict.value}; {start}{len(self.raised)} flag(s)"
