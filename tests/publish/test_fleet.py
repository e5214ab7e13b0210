"""What twenty hosts published is one table: one statement adds up to the sum of their ledgers."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.fs as pafs
import pytest

from tests.publish.fleet import LISTED, PREFIX, PRUNED, QUESTION, Fleet, Host, answered, logged
from tests.publish.s3 import S3

# Spark asks the same of the shared folder in tests/readers, where the one Spark is.

pytestmark = pytest.mark.usefixtures("credentials")


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_one_statement_of_duckdb_on_the_shared_folder_is_the_sum_of_the_ledgers(
    fleet: Fleet,
) -> None:
    traces = f"read_parquet('{fleet.folder}/*/*.parquet', hive_partitioning = true)"
    rows = duckdb.connect().execute(QUESTION.format(traces=traces)).fetchall()
    assert fleet.totals() == answered(rows)


def test_one_statement_of_duckdb_on_the_bucket_is_the_sum_of_the_ledgers(
    fleet: Fleet, s3: S3, shared: str
) -> None:
    # DuckDB's own way, read_parquet('s3://…'), needs its extension httpfs, which is downloaded when
    # it is first used; what PyPI has of it is for older DuckDBs. So pyarrow reads, and DuckDB asks.
    import pyarrow.dataset as ds  # with pandas, which is not for each worker to load

    files, root = pafs.FileSystem.from_uri(s3.url(shared, PREFIX))
    with duckdb.connect() as db:
        db.register("traces", ds.dataset(root, filesystem=files, partitioning="hive"))
        rows = db.execute(QUESTION.format(traces="traces")).fetchall()
    assert fleet.totals() == answered(rows)


def test_the_bucket_copied_down_is_the_shared_folder_byte_for_byte(
    fleet: Fleet, s3: S3, shared: str, tmp_path: Path
) -> None:
    # What Spark would need to read a bucket by itself, hadoop-aws, is on no index for Python. It
    # can read a copy of the bucket; and this being so, it has: see tests/readers/test_fleet.py.
    files, root = pafs.FileSystem.from_uri(s3.url(shared, PREFIX))
    pafs.copy_files(root, str(tmp_path / "copy"), source_filesystem=files)
    assert files_in(fleet.folder) == files_in(tmp_path / "copy")


def test_no_two_hosts_have_a_key_in_common(fleet: Fleet, s3: S3, shared: str) -> None:
    expected = [f"{PREFIX}/{key}" for host in fleet.hosts for key in host.snapshots()]
    assert sorted(expected) == sorted(s3.objects(shared))
    assert len(expected) == len(set(expected))


def test_a_second_publish_changes_the_hosts_own_keys_alone(
    s3: S3, shared: str, bucket: str, tmp_path: Path
) -> None:
    # One more host, and a copy of the bucket: the other tests ask the bucket itself.
    others = s3.objects(shared)
    files, _ = pafs.FileSystem.from_uri(s3.url(bucket))
    for key, content in others.items():
        with files.open_output_stream(f"{bucket}/{key}") as copy:
            copy.write(content)
    host, url = Host("laptop-21", tmp_path / "laptop-21"), s3.url(bucket, PREFIX)
    host.log(line(day) for day in ("2026-01-01", "2026-01-02"))
    host.run("run", "--once", url=url)
    before = s3.objects(bucket)
    host.log(line(day, cost_usd=0.000000001) for day in ("2026-01-02", "2026-03-01"))
    host.run("run", "--once", url=url)
    after = s3.objects(bucket)
    assert len(others) + 2 == len(before)
    assert set(before) <= set(after)
    assert {
        f"{PREFIX}/event_date=2026-01-02/laptop-21.parquet",
        f"{PREFIX}/event_date=2026-03-01/laptop-21.parquet",
    } == {key for key in after if after[key] != before.get(key)}


def line(day: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": f"{day}T12:00:00Z", "usage": {"input_tokens": 1}, **more}


def test_the_fleet_has_what_a_statement_could_get_wrong(fleet: Fleet) -> None:
    calls, totals = fleet.calls(), fleet.totals()
    assert 20 == sum(column == "host" for column, _ in totals)
    assert 20 == len({totals["host", host.name].calls for host in fleet.hosts})
    assert 20 + 5 + 1 == sum(column == "event_date" for column, _ in totals)
    by_day: dict[str, set[str]] = {}
    for call in calls:
        by_day.setdefault(call.event_date, set()).add(call.host)
    assert {1, 4, 20} == set(map(len, by_day.values()))
    assert {("model", "None"), ("model", "acme/all"), ("developer_id", "None")} <= set(totals)
    assert {None, 1} < {call.nanousd for call in calls}
    overall = totals["all", ""]
    assert 0 < overall.unpriced < overall.calls
    in_floating_point = sum((call.nanousd or 0) / 1e9 for call in calls)
    assert overall.cost_usd != round(Decimal(in_floating_point), 9), "it would do"


def test_what_is_in_the_ledgers_is_what_was_logged_and_what_is_pruned_is_in_none(
    fleet: Fleet,
) -> None:
    for host in fleet.hosts:
        held, told = host.ledger(), logged(host.name)
        if host.name == PRUNED:
            assert [] == held
            assert [(len(told),)] == host.query("SELECT sum(pruned_rows) FROM snapshots")
        else:
            priced_by_table = [call.nanousd for call in held if call.model == LISTED]
            assert [5_250_000] == priced_by_table
            assert Counter(call for call in told if call.model != LISTED) == Counter(
                call for call in held if call.model != LISTED
            )
