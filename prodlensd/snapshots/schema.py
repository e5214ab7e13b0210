"""The columns of a snapshot, and what each is in the ledger."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

#: The columns of the `traces` view, with real types; without `event_date`, which is the folder's,
#: and `started_us`, which is `timestamp`. The last three are what else the ledger knows of a call,
#: kept for when its row is pruned: the price behind its cost (see `price`), all rarely asked facts
#: as JSON, and the second of its two ids. Strings are dictionary-encoded in the file only: as types
#: of columns, dictionaries could differ between files, and some readers cannot join those.
SCHEMA: Final = pa.schema(
    [
        ("session_id", pa.string()),
        ("developer_id", pa.string()),
        ("repo_slug", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("model", pa.string()),
        ("provider", pa.string()),
        ("call_type", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cache_read_tokens", pa.int64()),
        ("cache_write_tokens", pa.int64()),
        ("cache_write_1h_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("audio_in_tokens", pa.int64()),
        ("audio_out_tokens", pa.int64()),
        ("latency_ms", pa.float64()),
        ("ttft_ms", pa.float64()),
        ("stream", pa.bool_()),
        ("status", pa.string()),
        ("status_code", pa.int64()),
        ("error_class", pa.string()),
        ("cost_usd", pa.decimal128(18, 9)),
        ("cost_source", pa.string()),
        ("unpriced_reason", pa.string()),
        ("gateway_cost_usd", pa.decimal128(18, 9)),
        ("table_cost_usd", pa.decimal128(18, 9)),
        ("service_tier", pa.string()),
        ("cache_hit", pa.bool_()),
        ("call_id", pa.string()),
        ("end_user", pa.string()),
        ("team", pa.string()),
        ("key_alias", pa.string()),
        ("tags", pa.string()),
        ("session_via", pa.string()),
        ("developer_via", pa.string()),
        ("accepted", pa.bool_()),
        ("diff_ratio", pa.float64()),
        ("accepted_lines", pa.int64()),
        ("anomalies", pa.string()),
        ("bill", pa.string()),
        ("source_id", pa.int64()),
        ("source_offset", pa.int64()),
        ("host", pa.string()),
        ("price_id", pa.int64()),
        ("details", pa.string()),
        ("response_id", pa.string()),
    ]
)

#: The ledger's exact columns for those that the view has as text or float.
_EXACT: Final = {
    "timestamp": "started_us",
    "cost_usd": "cost_nanousd",
    "gateway_cost_usd": "gateway_nanousd",
    "table_cost_usd": "table_nanousd",
}
#: The ledger's column for each of a snapshot's.
LEDGER_NAMES: Final = {name: _EXACT.get(name, name) for name in SCHEMA.names}
#: These are parts of `details`; and the two ids are parts of the key, `ids`, unless the call's own
#: stands alone. They are taken apart a column at a time, in less time than SQLite takes.
OF_DETAILS: Final = ("stream", "error_class", "team", "key_alias")
_WHOLE: Final = {"call_id": "own_call_id", "response_id": "ids"}
#: The columns of the ledger that the rows of a snapshot are made from.
LEDGER_COLUMNS: Final[tuple[str, ...]] = tuple(
    _WHOLE.get(name, ledger_name)
    for name, ledger_name in LEDGER_NAMES.items()
    if name not in OF_DETAILS
)

NANOUSD: Final = pa.decimal128(19, 0)  # the digits of 64 bits
USD: Final = pa.decimal128(18, 9)  # the same 128 bits, read as dollars
