"""What was spent, by who and what spent it, in quarters of an hour: answers at any size of ledger.

The table `spent` holds exactly the calls that started before the mark in `spent_until`, pruned ones
too; those after it are added up from their rows. The mark moves on once a quarter is over, by one
statement for each (see `spending`), so that the calls of a backlog cost nothing where they are
committed. What changes before the mark (a late line, a repricing) is added or taken out at once, in
the same transaction. The zones of the world are whole quarters of an hour apart, so the sums of any
reader's day are here.

A call on a plan costs nothing more, so it adds nothing to a cost. What the API would have asked for
it is a sum of its own: that of the scope `scope_on_plan(…)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from prodlensd.ledger.connection import Database, translated
from prodlensd.ledger.sums import joined
from prodlensd.model import US_PER_DAY, US_PER_S

# ruff: noqa: S608 - statements are put together from names of columns

QUARTER_US: Final = 900 * US_PER_S
#: How many calls a reader adds up by itself. There are more only while a backlog is read.
MOST_READ: Final = 50_000
LOW: Final = (1 << 32) - 1
_FOREVER_US: Final = 2**63 - 1

#: Whose sums are kept → SQL over a call `t` of a source `s`. Every call has a host, so the sum of
#: all hosts is that of all calls.
SCOPES: Final = {
    "host": "s.host",
    "team": "t.details ->> 'team'",
    "developer": "t.developer_id",
    "repo": "t.repo_slug",
    "model": "t.model",
    "session": "t.session_id",
}
ON_PLAN: Final = "plan"
_COLUMNS: Final = "calls, unpriced, cost_high, cost_low, tokens_in, cache_read"
# Before 1970 the start of a quarter is to be found below as well.
_QUARTER: Final = f"t.started_us - (t.started_us % {QUARTER_US} + {QUARTER_US}) % {QUARTER_US}"


def scope_on_plan(scope: str) -> str:
    """The scope of the same calls as far as they are on a plan: their cost is at API prices."""
    return f"{ON_PLAN} {scope}"


#: What a call counts with: its cost or, in the sums of calls on a plan, its price by the table.
_MONEY: Final = f"iif(t.cost_source = '{ON_PLAN}', t.table_nanousd, t.cost_nanousd)"


def summing_up(table: str, scopes: Iterable[str] = SCOPES, calls: str = "trace") -> str:
    """SQL that adds up the calls of [?1, ?2): first of those that have all names in common."""
    names = {scope: SCOPES[scope] for scope in SCOPES if scope in scopes}
    columns = [
        *(f"{sql} AS {of}" for of, sql in names.items()),
        f"t.cost_source = '{ON_PLAN}' AS is_on_plan",
    ]
    alike = f"""
        SELECT {_QUARTER} AS quarter_us, {", ".join(columns)},
            count(*) AS calls, sum({_MONEY} IS NULL) AS unpriced,
            sum({_MONEY} >> 32) AS high, sum({_MONEY} & {LOW}) AS low,
            total(t.tokens_in) AS tokens_in, total(t.cache_read_tokens) AS cache_read
        FROM {calls} AS t JOIN source AS s USING (source_id)
        WHERE t.started_us >= ?1 AND t.started_us < ?2
        GROUP BY {", ".join(map(str, range(1, len(names) + 3)))}
    """
    of_each = [
        *(_of_each(scope, scope, "NOT is_on_plan", "true") for scope in names),
        *(_of_each(scope_on_plan(scope), scope, "true", "is_on_plan") for scope in names),
    ]
    return f"""
        WITH alike AS MATERIALIZED ({alike}) INSERT INTO {table} {" UNION ALL ".join(of_each)}
    """


def _of_each(scope: str, names: str, costs: str, which: str) -> str:
    """SQL for the sums of a scope, by the names in a column: of `which`, with what of it costs."""
    unpriced, high, low = (
        f"sum({of}) FILTER (WHERE {costs})" for of in ("unpriced", "high", "low")
    )
    return f"""
        SELECT '{scope}', {names}, quarter_us, sum(calls), coalesce({unpriced}, 0),
            coalesce({high}, 0) + (coalesce({low}, 0) >> 32),
            coalesce({low}, 0) & {LOW}, sum(tokens_in), sum(cache_read)
        FROM alike WHERE {which} AND {names} IS NOT NULL GROUP BY {names}, quarter_us"""


UNTIL: Final = "SELECT until_us FROM spent_until"
UNSUMMED: Final = "FROM call WHERE started_us >= ? AND started_us < ?"
_ADDED: Final = f"""
    ON CONFLICT DO UPDATE SET
        ({_COLUMNS}) = ({", ".join(f"{c} + excluded.{c}" for c in _COLUMNS.split(", "))})
"""
ADD: Final = f"INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) {_ADDED}"
_CREATE: Final = """
    DROP TABLE IF EXISTS temp.recent; CREATE TEMP TABLE recent AS SELECT * FROM spent LIMIT 0
"""
_CREATE_RECOUNTED: Final = f"""
    CREATE TEMP TABLE IF NOT EXISTS recounted (
        scope, name, quarter_us, {_COLUMNS}, PRIMARY KEY (scope, name, quarter_us)
    ) WITHOUT ROWID
"""
_SAID: Final = f"""
    SELECT scope || ' ' || name AS whose, quarter_us, printf(
        '%d calls, %d unpriced, %d x 2^32 + %d nano-dollars',
        calls, unpriced, cost_high + (cost_low >> 32), cost_low & {LOW}
    ) AS said
"""
# A call that was pruned before there were sums is in none, and was recounted all the same.
_DIFFERENCES: Final = f"""
    SELECT whose, quarter_us, max(counted), max(kept) FROM (
        SELECT whose, quarter_us, said AS counted, '' AS kept FROM ({_SAID} FROM temp.recounted)
        UNION ALL SELECT whose, quarter_us, '', said FROM ({_SAID} FROM spent WHERE calls)
    )
    WHERE NOT EXISTS (
        SELECT 1 FROM partition
        WHERE unspent AND quarter_us BETWEEN day * {US_PER_DAY} AND (day + 1) * {US_PER_DAY} - 1
    )
    GROUP BY whose, quarter_us HAVING max(counted) <> max(kept) LIMIT ?
"""
_OF_NAME: Final = f"SELECT {_COLUMNS} FROM {{}} WHERE scope = ?1 AND name = ?2"
#: From name to name, however many quarters each has.
_OF_PATTERN: Final = f"""
    SELECT {_COLUMNS} FROM (
        WITH RECURSIVE known (known_as) AS (
            SELECT min(name) FROM {{0}} WHERE scope = ?1
            UNION ALL
            SELECT (SELECT min(name) FROM {{0}} WHERE scope = ?1 AND name > known_as)
            FROM known WHERE known_as NOT NULL
        )
        SELECT * FROM known CROSS JOIN {{0}}
        WHERE known_as GLOB ?2 AND scope = ?1 AND name = known_as
    ) WHERE true
"""
_WITHIN: Final = "AND quarter_us >= ?3 AND quarter_us < ?4"


class Spent(NamedTuple):
    """What calls add up to. Of the tokens only a share is made: beyond 2⁵³ they are rounded.

    `unpriced_calls` may have cost anything. `unknown_calls` are in no other number here: they are
    yet to be added up, or were pruned by a version that did not.
    """

    calls: int
    unpriced_calls: int
    cost_nanousd: int
    tokens_in: float
    cache_read_tokens: float
    unknown_calls: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether all calls are in it, each with its price."""
        return not self.unpriced_calls and not self.unknown_calls


class SpentReader(NamedTuple):
    """What was spent, as fast at any size of ledger. All is to be asked within one moment."""

    ledger: Database

    def read(self, *scopes: str) -> Sums:
        """The sums of these scopes, with those of the calls after the mark."""
        until_us = self.ledger.value(UNTIL)
        sql = f"SELECT count(*) FROM (SELECT 1 {UNSUMMED} LIMIT ?)"
        unsummed = self.ledger.value(sql, (until_us, _FOREVER_US, MOST_READ + 1))
        with translated(self.ledger.path):
            self.ledger.db.execute(_CREATE)
            if unsummed <= MOST_READ:
                sql = summing_up("temp.recent", ("host", *scopes))
                self.ledger.db.execute(sql, (until_us, _FOREVER_US))
        return Sums(self.ledger, 0 if unsummed <= MOST_READ else unsummed)

    def recount(self, calls: str = "trace") -> None:
        """Adds these calls up again, beside the sums, for `differences`."""
        team = SCOPES["team"] if calls == "trace" else "t.team"
        sql = summing_up("temp.recounted", SCOPES, calls).replace(SCOPES["team"], team)
        with translated(self.ledger.path):
            self.ledger.db.execute(_CREATE_RECOUNTED)
            self.ledger.db.execute(f"{sql} {_ADDED}", (-_FOREVER_US, self.ledger.value(UNTIL)))

    def differences(self, most: int) -> list[tuple[str, int, str, str]]:
        """Where the sums are not what was recounted: whose, when, the latter and the former."""
        return list(self.ledger.all(_DIFFERENCES, (most,)))


class Sums(NamedTuple):
    """The sums. `unsummed_calls` are not in them, and there may be more of these."""

    ledger: Database
    unsummed_calls: int

    def of(self, scope: str, pattern: str, from_us: int, until_us: int) -> Spent:
        """What the calls of a scope add up to whose quarter of an hour begins in the span.

        In the pattern, `*` stands for any characters and `?` for one.
        """
        if not {"*", "?"} & set(pattern):
            return self.named(scope, pattern, from_us, until_us)
        wanted = pattern.replace("[", "[[]")
        return self._total(_OF_PATTERN, (scope, wanted, from_us, until_us))

    def named(self, scope: str, name: str, from_us: int, until_us: int) -> Spent:
        """The same for one name, whatever is in it."""
        return self._total(_OF_NAME, (scope, name, from_us, until_us))

    def _total(self, sql: str, asked: tuple[str, str, int, int]) -> Spent:
        of_both = " UNION ALL ".join(
            f"{sql.format(table)} {_WITHIN}" for table in ("spent", "temp.recent")
        )
        total = (
            "coalesce(sum(calls), 0), coalesce(sum(unpriced), 0), total(tokens_in), "
            f"total(cache_read), sum(cost_high), sum(cost_low) FROM ({of_both})"
        )
        calls, unpriced, tokens_in, cached, *cost = next(self.ledger.all(f"SELECT {total}", asked))
        (cost_nanousd,) = joined(cost)
        unknown = self.unsummed_calls + self._unspent(*asked[2:])
        return Spent(calls, unpriced, cost_nanousd or 0, tokens_in, cached, unknown)

    def _unspent(self, from_us: int, until_us: int) -> int:
        sql = "SELECT coalesce(sum(unspent), 0) FROM partition WHERE day BETWEEN ? AND ?"
        days = from_us // US_PER_DAY, (until_us - 1) // US_PER_DAY
        return int(self.ledger.value(sql, days))
