"""What the ledger has counted and added up as it grew: as fast on a large ledger as on a small one.

And the same, counted again from the rows themselves, for `verify` to compare.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from prodlensd.store.reading import Reader
from prodlensd.store.store import TOTALLED, Totals

_SUMS: Final = ", ".join(f"coalesce(sum({name}), 0)" for name in TOTALLED)


class TallyReader(Reader):
    """A read-only view of the ledger's tallies and totals."""

    def totals_by_source(self) -> Totals:
        """What the traces of each cost_source add up to: TOTALLED, in its order."""
        sql = f"SELECT cost_source, {', '.join(TOTALLED)} FROM total ORDER BY 1"  # noqa: S608
        return {source: sums for source, *sums in self._all(sql)}

    def recount(self) -> tuple[Totals, Counter[tuple[str, str]]]:
        """The totals, and the tallies of `status` and `reason`. Looks at each row."""
        totals: Totals = {}
        tallies: Counter[tuple[str, str]] = Counter()
        sql = f"SELECT cost_source, status, count(*), {_SUMS} FROM trace GROUP BY 1, 2"  # noqa: S608
        for source, status, traces, *sums in self._all(sql):
            tallies["status", status] += traces
            before = totals.get(source, [0] * len(TOTALLED))
            totals[source] = [old + new for old, new in zip(before, sums, strict=True)]
        letters = self._all("SELECT reason, count(*) FROM dead_letter GROUP BY 1")
        tallies.update({("reason", reason): count for reason, count in letters})
        return totals, tallies
