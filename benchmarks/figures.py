"""What a benchmark hands back: figures, each with its unit, its sample and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class WrongResultError(Exception):
    """The program did not do what was measured: no speed makes up for that."""


class Budget(NamedTuple):
    """A limit to compare with, and on which side of it to be: "≤" or "≥"."""

    side: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether the value keeps to it."""
        return value <= self.limit if self.side == "≤" else value >= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `of` says what was counted in `n`."""

    what: str
    value: float
    unit: str
    n: int
    of: str
    budget: Budget | None = None

    def as_line(self) -> str:
        """For people."""
        budget, met = "", ""
        if self.budget is not None:
            budget = f"{self.budget.side} {self.budget.limit:g}"
            met = "" if self.budget.holds(self.value) else "over"
        value = _shown(self.value)
        return (
            f"{self.what:<57} {value:>9} {self.unit:<9} {budget:>7} {met:<4} {self.n:,} {self.of}"
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        budget = self.budget
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "n": self.n,
            "of": self.of,
            "budget": None if budget is None else f"{budget.side} {budget.limit:g}",
            "met": None if budget is None else budget.holds(self.value),
        }


HEADING = f"{'what':<57} {'figure':>9} {'unit':<9} {'budget':>7}      n"


def _shown(value: float) -> str:
    """Three figures that count, and no more digits than a person compares."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
