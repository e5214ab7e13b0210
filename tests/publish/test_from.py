"""`sql --from` asks what twenty hosts have published to a folder or a bucket, and reads no more."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from prodlensd.answers.published import open_published
from prodlensd.model import OperationalError
from prodlensd.snapshots import destination
from tests.publish.fault_proxy import FaultProxy
from tests.publish.fleet import PREFIX, QUESTION, Fleet, answered
from tests.publish.s3 import S3

_TABLE = "calls"

pytestmark = pytest.mark.usefixtures("credentials")


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_the_calls_of_all_hosts_are_the_sum_of_their_ledgers(
    where: str, fleet: Fleet, s3: S3, shared: str
) -> None:
    url = fleet.folder.as_uri() if where == "folder" else s3.url(shared, PREFIX)
    with open_published(url) as published:
        rows = published.query(QUESTION.format(traces=_TABLE)).fetchall()
        behind = published.behind()
    assert fleet.totals() == answered(rows)
    # Each host has a day in February that nobody else has: the last one has the newest.
    last = {f"laptop-{number:02d}": f"2026-02-{number:02d}" for number in range(1, 20)}
    assert last == {host: str(day) for host, day in behind.items()}


def test_the_command_asks_a_bucket(s3: S3, shared: str, fleet: Fleet, machine: Any) -> None:
    query = "SELECT sum(cost_usd) AS usd, count(DISTINCT host) AS hosts FROM calls"
    done = machine.command("sql", query, "--from", s3.url(shared, PREFIX), "--format", "json")
    assert 0 == done.returncode, done.stderr
    [row] = json.loads(done.stdout, parse_float=Decimal)["rows"]
    assert {"usd": fleet.totals()["all", ""].cost_usd, "hosts": 20} == row
    assert "laptop-19 is behind: its last day here is 2026-02-19" in done.stderr
    assert S3.secret not in done.stderr


def test_of_a_bucket_only_the_days_and_columns_that_are_asked_for_are_fetched(
    s3: S3, shared: str, proxy: FaultProxy
) -> None:
    with open_published(s3.url(shared, PREFIX, proxy.port)) as published:
        listed = len(proxy.requests)
        query = "SELECT sum(cost_usd) FROM calls WHERE event_date = '2026-02-07'"
        published.query(query).fetchall()
        fetched = proxy.requests[listed:]
    assert fetched
    assert [] == [request for request in fetched if "event_date%3D2026-02-07" not in request.path]


def test_a_bucket_that_does_not_answer_or_refuses_is_one_sentence(
    s3: S3, shared: str, proxy: FaultProxy
) -> None:
    proxy.answer(403, "AccessDenied")
    with (
        pytest.raises(OperationalError, match=r"^cannot read s3://") as refused,
        open_published(s3.url(shared, PREFIX, proxy.port)),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert S3.secret not in str(refused.value)
    with (
        pytest.raises(OperationalError, match=r"^cannot read s3://no-such-bucket"),
        open_published(s3.url("no-such-bucket", PREFIX)),
    ):
        pass
    with (
        pytest.raises(OperationalError, match=r"^(nothing is published at|cannot read) s3://"),
        open_published(s3.url(shared, "another/prefix")),
    ):
        pass


def test_a_damaged_file_in_a_bucket_is_named(s3: S3, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no Parquet")
    key = "event_date=2026-01-01/laptop-01.parquet"
    destination(s3.url(bucket, PREFIX)).put(tmp_path / "x", key)
    with (
        open_published(s3.url(bucket, PREFIX)) as published,
        pytest.raises(OperationalError, match=f"{bucket}/{PREFIX}/{key} cannot be read"),
    ):
        published.query("SELECT count(*) FROM calls").fetchall()
