"""The columns of a snapshot, and what each is in the ledger. Loads no pyarrow."""

from __future__ import annotations

from typing import Final

#: The columns of the `traces` view, with real types; without `event_date`, which is the folder's,
#: and `started_us`, which is `timestamp`. The last three are what else the ledger knows of a call,
#: kept for when its row is pruned: the price behind its cost (see `price`), all rarely asked facts
#: as JSON, and the second of its two ids. The types are those of SQL, as DuckDB names them.
COLUMNS: Final = {
    "session_id": "VARCHAR",
    "developer_id": "VARCHAR",
    "repo_slug": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
    "model": "VARCHAR",
    "provider": "VARCHAR",
    "call_type": "VARCHAR",
    "tokens_in": "BIGINT",
    "tokens_out": "BIGINT",
    "total_tokens": "BIGINT",
    "cache_read_tokens": "BIGINT",
    "cache_write_tokens": "BIGINT",
    "cache_write_1h_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "audio_in_tokens": "BIGINT",
    "audio_out_tokens": "BIGINT",
    "latency_ms": "DOUBLE",
    "ttft_ms": "DOUBLE",
    "stream": "BOOLEAN",
    "status": "VARCHAR",
    "status_code": "BIGINT",
    "error_class": "VARCHAR",
    "cost_usd": "DECIMAL(18, 9)",
    "cost_source": "VARCHAR",
    "unpriced_reason": "VARCHAR",
    "gateway_cost_usd": "DECIMAL(18, 9)",
    "table_cost_usd": "DECIMAL(18, 9)",
    "service_tier": "VARCHAR",
    "cache_hit": "BOOLEAN",
    "call_id": "VARCHAR",
    "end_user": "VARCHAR",
    "team": "VARCHAR",
    "key_alias": "VARCHAR",
    "tags": "VARCHAR",
    "session_via": "VARCHAR",
    "developer_via": "VARCHAR",
    "accepted": "BOOLEAN",
    "diff_ratio": "DOUBLE",
    "accepted_lines": "BIGINT",
    "anomalies": "VARCHAR",
    "bill": "VARCHAR",
    "source_id": "BIGINT",
    "source_offset": "BIGINT",
    "host": "VARCHAR",
    "price_id": "BIGINT",
    "details": "VARCHAR",
    "response_id": "VARCHAR",
}

#: The ledger's exact columns for those that the view has as text or float.
_EXACT: Final = {
    "timestamp": "started_us",
    "cost_usd": "cost_nanousd",
    "gateway_cost_usd": "gateway_nanousd",
    "table_cost_usd": "table_nanousd",
}
#: The ledger's column for each of a snapshot's.
LEDGER_NAMES: Final = {name: _EXACT.get(name, name) for name in COLUMNS}
#: These are parts of `details`.
OF_DETAILS: Final = ("stream", "error_class", "team", "key_alias")
#: What many calls have in common, and the ledger keeps once: who called what, and how it ended.
COMMON: Final = (
    *("session_via", "developer_id", "developer_via", "repo_slug", "model", "provider"),
    *("call_type", "status", "status_code", "cache_hit", "service_tier", "end_user", "tags"),
    *("details", "cost_source", "price_id", "anomalies", "unpriced_reason"),
)
#: What a call has for itself: here `response_id` stands for both ids, which are its key with a
#: space between, and `call_id` for one that stands alone.
OWN: Final = (
    *("timestamp", "response_id", "call_id", "session_id", "tokens_in", "tokens_out"),
    *("total_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_in_tokens", "audio_out_tokens", "latency_ms", "ttft_ms"),
    *("accepted", "diff_ratio", "accepted_lines", "gateway_cost_usd", "cost_usd"),
    *("table_cost_usd", "source_id", "source_offset", "bill"),
)
#: Stands for a whole number that a call does not have: the smallest that SQLite knows, which is no
#: count and no cost.
NO_NUMBER: Final = -(2**63)
