"""DuckDB, pandas, pyarrow, Polars and Spark read what the ledger holds, to the nano-dollar."""

from __future__ import annotations

from typing import Any

import pytest

from prodlensd.snapshots import SCHEMA
from tests.readers.reading import Reader

#: What a column holds, for those that hold no text.
KINDS = {
    **dict.fromkeys(("tokens_in", "tokens_out", "total_tokens", "reasoning_tokens"), "count"),
    **dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "accepted_lines"), "count"),
    **dict.fromkeys(("cache_write_1h_tokens", "audio_in_tokens", "audio_out_tokens"), "count"),
    **dict.fromkeys(("status_code", "source_id", "source_offset", "price_id"), "count"),
    **dict.fromkeys(("latency_ms", "ttft_ms", "diff_ratio"), "real"),
    "timestamp": "moment",
    **dict.fromkeys(("cost_usd", "gateway_cost_usd", "table_cost_usd"), "money"),
    **dict.fromkeys(("accepted", "stream", "cache_hit"), "flag"),
    "event_date": "date",
}
_ARROW = {
    "text": "string",
    "count": "int64",
    "real": "double",
    "moment": "timestamp[us, tz=UTC]",
    "money": "decimal128(18, 9)",
    "flag": "bool",
    "date": "string",
}
TYPES = {
    "DuckDB": {
        "text": "VARCHAR",
        "count": "BIGINT",
        "real": "DOUBLE",
        "moment": "TIMESTAMP WITH TIME ZONE",
        "money": "DECIMAL(18,9)",
        "flag": "BOOLEAN",
        "date": "DATE",
    },
    "pandas": {**_ARROW, "date": "dictionary<values=string, indices=int32, ordered=0>"},
    "pyarrow": _ARROW,
    "Polars": {
        "text": "String",
        "count": "Int64",
        "real": "Float64",
        "moment": "Datetime(time_unit='us', time_zone='UTC')",
        "money": "Decimal(precision=18, scale=9)",
        "flag": "Boolean",
        "date": "Date",
    },
    "Spark": {
        "text": "string",
        "count": "bigint",
        "real": "double",
        "moment": "timestamp",
        "money": "decimal(18,9)",
        "flag": "boolean",
        "date": "date",
    },
}


@pytest.mark.parametrize(
    "column",
    [
        "host",  # there is one: this is the whole
        *("event_date", "model", "session_id", "developer_id", "tags", "accepted"),
        *("status", "cost_source", "call_id", "response_id"),
    ],
)
def test_all_calls_add_up_as_in_the_ledger_by(column: str, ledger: Any, reader: Reader) -> None:
    assert ledger.sums(column) == reader.sums(ledger.snapshots, column)


def test_each_column_has_its_type(
    ledger: Any, reader: Reader, request: pytest.FixtureRequest
) -> None:
    types = TYPES[request.node.callspec.params["reader"]]
    columns = [*SCHEMA.names, "event_date"]
    expected = {column: types[KINDS.get(column, "text")] for column in columns}
    assert expected == reader.types(ledger.snapshots)


def test_the_ledger_has_what_a_reader_could_get_wrong(ledger: Any) -> None:
    days = ledger.sums("event_date")
    assert 9 == len(days)
    assert {"None", "True", "False"} == set(ledger.sums("accepted"))
    assert {"success", "failure"} == set(ledger.sums("status"))
    assert {"gateway", "not_billable", "unpriced"} <= set(ledger.sums("cost_source"))
    assert days["2026-01-05"].cost_usd > 10**9
    assert days["2026-01-06"].calls > 65_536
    assert 0 < days["2026-01-06"].priced < days["2026-01-06"].calls
    assert (0, 0) == (days["2026-01-02"].priced, days["2026-01-04"].counted)
    assert 2**53 + 1 == days["2026-01-04"].accepted_lines
    assert 999_999 == days["2025-12-31"].last_us % 10**6
