"""The snapshots as one table in five readers, and the same questions asked of each.

The functions named `…_table` are what docs/sql.md says to write; Spark's is in spark_server.
pandas and Polars are imported late: `make test` lacks them, but pytest reads this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


class Sums(NamedTuple):
    """What the calls of a group add up to. A sum of nothing is 0; `priced` and `counted` tell."""

    calls: int
    cost_usd: Decimal
    priced: int
    tokens_in: int
    counted: int
    tokens_out: int
    accepted_lines: int
    first_us: int
    last_us: int
    sessions: int


#: The sums by the values of a column; those are text, as readers differ about a date.
Groups = dict[str, Sums]


def groups(rows: Iterable[Any]) -> Groups:
    """What a reader answered: rows of a value and its sums, in any of the types they may have."""
    import pandas as pd

    return {
        "None" if pd.isna(value) else str(value): Sums(*map(_exact, Sums._fields, sums))
        for value, *sums in rows
    }


def _exact(field: str, value: Any) -> Any:
    if field == "cost_usd":
        return Decimal(value or 0)
    if isinstance(value, datetime):
        return (value - _EPOCH) // _US
    return value or 0


# SQL: DuckDB and Spark ----------------------------------------------------------------------------

_SQL: Final = """
    SELECT {column}, count(*), sum(cost_usd), count(cost_usd),
        sum(tokens_in), count(tokens_in), sum(tokens_out), sum(accepted_lines),
        {micros}(min(timestamp)), {micros}(max(timestamp)), count(DISTINCT session_id)
    FROM {traces} GROUP BY 1
"""


def spark_sql(column: str) -> str:
    return _SQL.format(column=column, micros="unix_micros", traces="traces")


def duckdb_table(folder: Path) -> str:
    return f"read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"


def sums_in_duckdb(folder: Path, column: str) -> Groups:
    sql = _SQL.format(column=column, micros="epoch_us", traces=duckdb_table(folder))
    return groups(duckdb.connect().execute(sql).fetchall())


def types_in_duckdb(folder: Path) -> dict[str, str]:
    traces = duckdb.connect().sql(f"FROM {duckdb_table(folder)}")
    return dict(zip(traces.columns, map(str, traces.types), strict=True))


# pandas -------------------------------------------------------------------------------------------


def pandas_table(folder: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(folder, dtype_backend="pyarrow")


def sums_in_pandas(folder: Path, column: str) -> Groups:
    sums = (
        pandas_table(folder)
        .groupby(column, dropna=False)
        .agg(
            calls=("host", "size"),
            cost_usd=("cost_usd", "sum"),
            priced=("cost_usd", "count"),
            tokens_in=("tokens_in", "sum"),
            counted=("tokens_in", "count"),
            tokens_out=("tokens_out", "sum"),
            accepted_lines=("accepted_lines", "sum"),
            first=("timestamp", "min"),
            last=("timestamp", "max"),
            sessions=("session_id", "nunique"),
        )
    )
    return groups(sums.itertuples(name=None))


def types_in_pandas(folder: Path) -> dict[str, str]:
    types: dict[str, str] = (
        pandas_table(folder).dtypes.map(lambda a: str(a.pyarrow_dtype)).to_dict()
    )
    return types


# pyarrow.dataset ----------------------------------------------------------------------------------


def pyarrow_table(folder: Path) -> ds.Dataset:
    return ds.dataset(folder, partitioning="hive")


def sums_in_pyarrow(folder: Path, column: str) -> Groups:
    traces: pa.Table = pyarrow_table(folder).to_table()
    sums = traces.group_by(column).aggregate(
        [
            ([], "count_all"),
            ("cost_usd", "sum"),
            ("cost_usd", "count"),
            ("tokens_in", "sum"),
            ("tokens_in", "count"),
            ("tokens_out", "sum"),
            ("accepted_lines", "sum"),
            ("timestamp", "min"),
            ("timestamp", "max"),
            ("session_id", "count_distinct"),
        ]
    )
    return groups(row.values() for row in sums.to_pylist())


def types_in_pyarrow(folder: Path) -> dict[str, str]:
    return {field.name: str(field.type) for field in pyarrow_table(folder).schema}


# Polars -------------------------------------------------------------------------------------------


def polars_table(folder: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(f"{folder}/*/*.parquet", hive_partitioning=True)


def sums_in_polars(folder: Path, column: str) -> Groups:
    import polars as pl

    sums = (
        polars_table(folder)
        .group_by(column)
        .agg(
            pl.len().alias("calls"),
            pl.sum("cost_usd"),
            pl.count("cost_usd").alias("priced"),
            pl.sum("tokens_in"),
            pl.count("tokens_in").alias("counted"),
            pl.sum("tokens_out"),
            pl.sum("accepted_lines"),
            pl.min("timestamp").alias("first"),
            pl.max("timestamp").alias("last"),
            pl.col("session_id").drop_nulls().n_unique().alias("sessions"),
        )
    )
    return groups(sums.collect().rows())


def types_in_polars(folder: Path) -> dict[str, str]:
    return {name: str(kind) for name, kind in polars_table(folder).collect_schema().items()}


# --------------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """One of the five."""

    sums: Callable[[Path, str], Groups]
    types: Callable[[Path], dict[str, str]]


#: Those that run in this process.
READERS: Final = {
    "DuckDB": Reader(sums_in_duckdb, types_in_duckdb),
    "pandas": Reader(sums_in_pandas, types_in_pandas),
    "pyarrow": Reader(sums_in_pyarrow, types_in_pyarrow),
    "Polars": Reader(sums_in_polars, types_in_polars),
}
