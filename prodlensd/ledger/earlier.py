"""What earlier versions kept of pruned calls, because their snapshots had no columns for it.

It stays in `pruned_before` and `fact` until the day's snapshot is written anew with it. A ledger
that this version began has none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from prodlensd.model import US_PER_DAY


class Facts(NamedTuple):
    """What is known of one call in this way. The fields are columns of `trace_exact`."""

    cache_write_1h_tokens: int | None
    audio_in_tokens: int | None
    audio_out_tokens: int | None
    stream: int | None
    error_class: str | None
    gateway_nanousd: int | None
    table_nanousd: int | None
    service_tier: str | None
    cache_hit: int | None
    team: str | None
    key_alias: str | None
    session_via: str | None
    developer_via: str | None
    anomalies: str | None
    price_id: int | None
    details: str | None


# ruff: noqa: S608 - statements are put together from names of columns
#: The tables that hold it, joined to `pruned`, whose calls need not have any.
JOINED: Final = """
    pruned AS p
    LEFT JOIN pruned_before AS b ON b.started_us = p.started_us AND b.key = p.key
    LEFT JOIN fact AS f ON f.fact_id = b.fact_id
"""
#: `fact.facts` is a JSON array of these.
_SHARED: Final = ("session_via", "developer_via", "service_tier", "anomalies", "details")
_IN_DETAILS: Final = ("stream", "error_class", "team", "key_alias")
#: The SQL for each of the facts.
SQL: Final[dict[str, str]] = {
    **{name: f"b.{name}" for name in Facts._fields},
    **{name: f"f.facts ->> {index}" for index, name in enumerate(_SHARED)},
    **{name: f"f.facts ->> {_SHARED.index('details')} ->> '{name}'" for name in _IN_DETAILS},
}
#: The facts of a span of time, each behind the place of its call; all NULL where there are none.
OF_SPAN: Final = f"""
    SELECT
        p.source_id, p.source_offset, b.key IS NULL,
        {", ".join(SQL[name] for name in Facts._fields)}
    FROM {JOINED} WHERE p.started_us BETWEEN ? AND ?
"""

#: Deletes those of days that are clean, which are in the snapshot by now; so many at most.
DROP: Final = f"""
    DELETE FROM pruned_before WHERE (started_us, key) IN (
        SELECT b.started_us, b.key FROM partition AS d CROSS JOIN pruned_before AS b
            ON b.started_us >= d.day * {US_PER_DAY} AND b.started_us < (d.day + 1) * {US_PER_DAY}
        WHERE d.version = d.compacted_version LIMIT ?
    )
"""
IS_LEFT: Final = "SELECT EXISTS (SELECT 1 FROM pruned_before)"
