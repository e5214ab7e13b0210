"""The ledger's views: what other programs read, a contract. Made anew with each schema."""

from __future__ import annotations

from typing import Final

from prodlensd.ledger.rows import COLUMNS, COMMON

#: The columns of the `traces` view, the contract's first table.
TRACES_COLUMNS: Final = (
    "session_id developer_id repo_slug timestamp event_date started_us model provider call_type "
    "tokens_in tokens_out total_tokens cache_read_tokens cache_write_tokens cache_write_1h_tokens "
    "reasoning_tokens audio_in_tokens audio_out_tokens latency_ms ttft_ms stream status "
    "status_code error_class cost_usd cost_source unpriced_reason gateway_cost_usd table_cost_usd "
    "service_tier cache_hit call_id end_user team key_alias tags session_via developer_via "
    "accepted diff_ratio accepted_lines anomalies bill source_id source_offset host"
).split()


def _iso(column: str) -> str:
    """SQL for an ISO 8601 UTC time, always with six digits: as text it sorts as the times do."""
    return (
        f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch') || "
        f"printf('.%06dZ', {column} % 1000000)"
    )


def _sum(column: str) -> str:
    """SQL for a sum of whole numbers: exact up to SQLite's largest integer, a REAL beyond it.

    Where `sum` raises an error. NULL for the sum of no value.
    """
    return f"(sum({column} / 1000000000) * 1000000000 + sum({column} % 1000000000))"


_WHOLE: Final = ", ".join(f"{'c' if name in COMMON else 'o'}.{name}" for name in COLUMNS)

# ruff: noqa: S608 - the views are put together from names of columns
VIEWS: Final = f"""
-- Each call, whole. Private.
CREATE VIEW trace AS SELECT {_WHOLE}, o.disputed, o.common_id
FROM call AS o CROSS JOIN common AS c USING (common_id);

-- `traces`, and the exact columns that snapshots are made from. Private.
CREATE VIEW trace_exact AS SELECT
    t.key, t.cost_nanousd, t.gateway_nanousd, t.table_nanousd, t.price_id, t.details,
    iif(typeof(t.key) = 'text', t.key, NULL) AS ids, t.call_id AS own_call_id,
    t.session_id, t.developer_id, t.repo_slug,
    {_iso("t.started_us")} AS timestamp,
    date(t.started_us / 1000000, 'unixepoch') AS event_date,
    t.started_us, t.model, t.provider, t.call_type,
    t.tokens_in, t.tokens_out, t.total_tokens, t.cache_read_tokens, t.cache_write_tokens,
    t.cache_write_1h_tokens, t.reasoning_tokens, t.audio_in_tokens, t.audio_out_tokens,
    t.latency_ms, t.ttft_ms, t.details ->> 'stream' AS stream, t.status, t.status_code,
    t.details ->> 'error_class' AS error_class,
    t.cost_nanousd / 1e9 AS cost_usd, t.cost_source, t.unpriced_reason,
    t.gateway_nanousd / 1e9 AS gateway_cost_usd, t.table_nanousd / 1e9 AS table_cost_usd,
    t.service_tier, t.cache_hit,
    coalesce(
        t.call_id,
        iif(typeof(t.key) = 'text', substr(t.key, 1, instr(t.key, ' ') - 1), NULL)
    ) AS call_id,
    t.end_user, t.details ->> 'team' AS team, t.details ->> 'key_alias' AS key_alias, t.tags,
    t.session_via, t.developer_via, t.accepted, t.diff_ratio, t.accepted_lines,
    t.anomalies, t.bill, t.source_id, t.source_offset, s.host
FROM trace AS t LEFT JOIN source AS s USING (source_id);

CREATE VIEW traces AS SELECT
    {", ".join(TRACES_COLUMNS)}
FROM trace_exact;

CREATE VIEW sessions AS SELECT
    session_id,
    max(developer_id) AS developer_id,
    max(repo_slug) AS repo_slug,
    {_iso("min(started_us)")} AS first_call_at,
    {_iso("max(started_us)")} AS last_call_at,
    count(*) AS calls,
    sum(status = 'failure') AS errors,
    {_sum("tokens_in")} AS tokens_in,
    {_sum("tokens_out")} AS tokens_out,
    {_sum("total_tokens")} AS total_tokens,
    {_sum("cost_nanousd")} / 1e9 AS cost_usd,
    sum(cost_source = 'unpriced') AS unpriced_calls
FROM trace WHERE session_id IS NOT NULL GROUP BY session_id;

CREATE VIEW dead_letters AS SELECT
    d.source_id, s.path, d.source_offset, d.length, d.reason, d.raw,
    {_iso("d.received_us")} AS received_at, d.state
FROM dead_letter AS d LEFT JOIN source AS s USING (source_id);

CREATE VIEW gaps AS SELECT
    g.source_id, s.path, g.source_offset, g.known_bytes, g.reason, g.state,
    {_iso("g.first_seen_us")} AS first_seen_at
FROM gap AS g LEFT JOIN source AS s USING (source_id);

CREATE VIEW sources AS SELECT
    source_id, path, size_bytes, offset, max(size_bytes - offset, 0) AS lag_bytes, state,
    lines, traces, duplicates, dead_letters, blanks, records, passed_over,
    {_iso("last_read_us")} AS last_read_at
FROM source;

CREATE VIEW cost_changes AS SELECT
    {_iso("c.started_us")} AS timestamp,
    t.call_id, t.model, t.provider,
    c.old_nanousd / 1e9 AS old_cost_usd, c.old_source AS old_cost_source,
    c.new_nanousd / 1e9 AS new_cost_usd, c.new_source AS new_cost_source,
    r.repricing_id, {_iso("r.started_us")} AS repriced_at
FROM cost_change AS c JOIN repricing AS r USING (repricing_id)
LEFT JOIN trace_exact AS t ON t.started_us = c.started_us AND t.key = c.key;

CREATE VIEW snapshots AS SELECT
    date(day * 86400, 'unixepoch') AS event_date, host,
    iif(version > compacted_version, 'dirty', 'clean') AS state,
    rows, file_bytes, lower(hex(sha256)) AS sha256, pruned AS pruned_rows,
    {_iso("compacted_us")} AS written_at
FROM partition;
"""
