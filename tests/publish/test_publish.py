"""Snapshots are copied to a bucket or a folder whole or not at all, and in the end all of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest

from prodlensd.jobs import publishing
from prodlensd.ledger import Ledger, Reader
from prodlensd.ledger.publishing import FailedAttempts
from prodlensd.snapshots.destinations import destination
from tests.publish.fault_proxy import Cut, FaultProxy
from tests.publish.s3 import S3

MINUTE_US = 60_000_000


def call(number: int, *, day: int = 1) -> bytes:
    record = {
        "timestamp": f"2026-01-{day:02d}T12:00:00Z",
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "cost_usd": number * 0.000000123,
        "usage": {"input_tokens": number, "output_tokens": 1},
    }
    return json.dumps(record).encode() + b"\n"


def snapshots(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("*/*")}


@pytest.fixture
def published(machine: Any, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Sets `publish.url`, with credentials in the environment, on a ledger of two days."""
    (machine.logs / "a.jsonl").write_bytes(call(1, day=1) + call(2, day=2))
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)

    def configure(url: str, more: str = "") -> Any:
        machine.config.write_text(f'host = "laptop"\n{more}\n[publish]\nurl = "{url}"\n')
        return machine

    return configure


def run_once(machine: Any) -> None:
    done = machine.command("run", "--once")
    assert done.returncode == 0, done.stderr


def in_status(machine: Any) -> dict[str, Any]:
    content = json.loads(machine.command("status", "--json").stdout)
    assert "publish" in {check["name"] for check in content["checks"]}
    figures: dict[str, Any] = content["figures"]
    return figures


def test_what_is_compacted_is_copied_under_the_hosts_own_keys(
    published: Callable[[str], Any], s3: S3, bucket: str
) -> None:
    machine = published(s3.url(bucket, "team/prodlens"))
    run_once(machine)
    expected = snapshots(machine.home / "parquet")
    assert set(expected) == {f"event_date=2026-01-0{day}/laptop.parquet" for day in (1, 2)}
    found = {f"team/prodlens/{key}": content for key, content in expected.items()}
    assert found == s3.objects(bucket)
    figures = in_status(machine)
    assert (2, 0, None) == (
        figures["published_days"],
        figures["unpublished_days"],
        figures["publish_fault"],
    )


def test_only_what_has_changed_is_copied_again(
    published: Callable[[str], Any], s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    machine = published(s3.url(bucket, port=proxy.port))
    run_once(machine)
    del proxy.requests[:]
    done = machine.command("publish")
    assert (0, "all snapshots are published\n") == (done.returncode, done.stdout)
    assert proxy.requests == []
    with (machine.logs / "a.jsonl").open("ab") as file:
        file.write(call(3, day=2))
    run_once(machine)
    assert {path.partition("?")[0] for _, path in proxy.requests} == {
        f"/{bucket}/event_date%3D2026-01-02/laptop.parquet"
    }
    assert snapshots(machine.home / "parquet") == s3.objects(bucket)


def test_a_new_address_gets_everything(
    published: Callable[[str], Any], s3: S3, bucket: str
) -> None:
    machine = published(s3.url(bucket))
    run_once(machine)
    machine = published(s3.url(bucket, "elsewhere"))
    assert machine.command("publish").returncode == 0
    assert len(s3.objects(bucket)) == 4


def test_an_upload_asks_for_nothing_but_to_put_its_own_key(
    published: Callable[[str], Any], s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    run_once(published(s3.url(bucket, port=proxy.port)))
    assert {method for method, _ in proxy.requests} <= {"PUT", "POST"}
    assert all("/laptop.parquet" in path for _, path in proxy.requests)


FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "503": lambda proxy: proxy.answer(503, "SlowDown"),
    "403": lambda proxy: proxy.answer(403, "AccessDenied"),
    "refused": lambda proxy: proxy.refuse(),
    "cut": lambda proxy: proxy.cut_body(1000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said_once_kept_in_status_and_heals_by_itself(
    published: Callable[[str], Any], s3: S3, bucket: str, proxy: FaultProxy, fault: str
) -> None:
    machine = published(s3.url(bucket, port=proxy.port))
    FAULTS[fault](proxy)
    done = machine.command("run", "--once")
    assert done.returncode == 0, "the lines are in the ledger, network or not"
    assert done.stderr.count("cannot publish just now; will keep trying") == 1
    assert s3.objects(bucket) == {}
    figures = in_status(machine)
    assert (0, 2) == (figures["published_days"], figures["unpublished_days"])
    assert figures["publish_fault"]
    asked = machine.command("publish")
    assert asked.returncode == 75
    assert asked.stderr.startswith("Error: cannot publish to s3://")
    proxy.heal()
    healed = machine.command("publish", "--quiet")
    assert healed.returncode == 0
    assert '"publishing again"' in healed.stderr
    assert snapshots(machine.home / "parquet") == s3.objects(bucket)
    assert in_status(machine)["publish_fault"] is None
    everything = done.stderr + asked.stderr + healed.stderr + json.dumps(figures)
    assert s3.secret not in everything
    assert s3.environment["AWS_ACCESS_KEY_ID"] not in everything


def test_what_fails_for_the_second_time_is_not_said_again(
    published: Callable[[str], Any], s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    machine = published(s3.url(bucket, port=proxy.port))
    proxy.answer(404, "NoSuchBucket")
    run_once(machine)
    again = machine.command("publish", "--quiet")
    assert (75, "") == (again.returncode, again.stderr)


def test_an_answer_that_is_lost_costs_a_second_copy_and_nothing_more(
    published: Callable[[str], Any], s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    machine = published(s3.url(bucket, port=proxy.port))
    proxy.cut_answer(10, times=1)
    run_once(machine)
    assert machine.command("publish").returncode == 0
    assert snapshots(machine.home / "parquet") == s3.objects(bucket)


def test_the_daemon_publishes_by_itself_and_goes_on_ingesting_without_a_network(
    published: Callable[..., Any], s3: S3, bucket: str, proxy: FaultProxy, wait_until: Any
) -> None:
    proxy.refuse()
    machine = published(s3.url(bucket, port=proxy.port), more="[parquet]\ninterval_s = 0.2")
    daemon = machine.start()
    wait_until(lambda: machine.query("SELECT failures FROM publishing"), "a failure")
    (machine.logs / "b.jsonl").write_bytes(call(5, day=3))
    wait_until(lambda: machine.query("SELECT count(*) FROM trace") == [3], "the line after it")
    assert [1] == machine.query("SELECT failures FROM publishing"), "it waits before it tries again"
    proxy.heal()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0
    with Ledger(machine.ledger) as store:
        store.db.execute("UPDATE publishing SET next_us = 0")
    machine.start()
    wait_until(lambda: len(s3.objects(bucket)) == 3, "all of them, by itself")
    assert snapshots(machine.home / "parquet") == s3.objects(bucket)


# What a bucket shows while an upload goes on -----------------------------------------------------


def upload(url: str, file: Path, s3: S3) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; "
        "from prodlensd.snapshots.destinations import destination; "
        "destination(sys.argv[1]).put(Path(sys.argv[2]), 'a/laptop.parquet')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(file)],
        env=os.environ | s3.environment,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("size_mb", [1, 40])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_an_upload_that_is_killed_leaves_what_was_there_before(
    s3: S3, bucket: str, proxy: FaultProxy, tmp_path: Path, size_mb: int, share: float
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(random.randbytes(size_mb << 20))  # noqa: S311 - so that nothing shrinks it
    url = s3.url(bucket, port=proxy.port)
    assert upload(url, old, s3).wait(100) == 0
    uploader: list[subprocess.Popen[bytes]] = []
    struck: list[int] = []

    def kill(bytes_so_far: int) -> None:
        if bytes_so_far > share * (size_mb << 20) and not struck:
            struck.append(bytes_so_far)
            uploader[0].kill()
        if struck:
            raise Cut

    proxy.on_body = kill
    uploader.append(upload(url, new, s3))
    assert uploader[0].wait(100) == -signal.SIGKILL
    assert struck
    assert s3.objects(bucket) == {"a/laptop.parquet": b"old"}
    proxy.on_body = lambda _bytes: None
    assert upload(url, new, s3).wait(100) == 0
    assert s3.objects(bucket) == {"a/laptop.parquet": new.read_bytes()}


@pytest.mark.parametrize("after_mb", [0, 12, 39])
def test_an_upload_that_fails_leaves_what_was_there_before(
    s3: S3, bucket: str, proxy: FaultProxy, tmp_path: Path, after_mb: int
) -> None:
    file = tmp_path / "new"
    file.write_bytes(random.randbytes(40 << 20))  # noqa: S311
    url = s3.url(bucket, port=proxy.port)
    proxy.on_body = lambda seen: _cut() if seen > after_mb << 20 else None
    assert upload(url, file, s3).wait(120) == 1
    assert s3.objects(bucket) == {}


def _cut() -> None:
    raise Cut


# A shared folder ---------------------------------------------------------------------------------


def test_a_shared_folder_gets_them_as_readable_as_it_is_itself(
    published: Callable[[str], Any], tmp_path: Path
) -> None:
    team = tmp_path / "the team's"
    team.mkdir()
    team.chmod(0o2750)
    machine = published(team.as_uri())
    run_once(machine)
    assert snapshots(machine.home / "parquet") == snapshots(team)
    modes = {path.stat().st_mode & 0o7777 for path in team.glob("*/*")}
    assert modes == {0o640}
    assert {path.stat().st_mode & 0o7777 for path in team.glob("*")} == {0o2750}


@pytest.mark.scenario(104)
def test_an_emptied_folder_is_filled_again_when_all_is_asked_for(
    published: Callable[[str], Any], tmp_path: Path
) -> None:
    team = tmp_path / "team"
    team.mkdir()
    machine = published(team.as_uri())
    run_once(machine)
    expected = snapshots(team)
    shutil.rmtree(team)
    team.mkdir()
    assert machine.command("publish").stdout == "all snapshots are published\n"
    done = machine.command("publish", "--all")
    assert (0, True) == (done.returncode, "2 snapshots copied" in done.stdout)
    assert expected == snapshots(team)
    assert machine.command("publish").stdout == "all snapshots are published\n"


def test_what_could_not_be_copied_again_is_left_to_the_daemon(
    published: Callable[[str], Any], tmp_path: Path
) -> None:
    team = tmp_path / "team"
    team.mkdir()
    machine = published(team.as_uri())
    run_once(machine)
    expected = snapshots(team)
    shutil.rmtree(team)
    assert machine.command("publish", "--all").returncode == 75
    assert in_status(machine)["unpublished_days"] == 2
    team.mkdir()
    assert machine.command("publish").returncode == 0
    assert expected == snapshots(team)


def test_a_folder_that_is_not_mounted_is_not_made(
    published: Callable[[str], Any], tmp_path: Path
) -> None:
    machine = published((tmp_path / "mnt").as_uri())
    run_once(machine)
    done = machine.command("publish")
    assert (75, True) == (done.returncode, "is it mounted?" in done.stderr)
    assert not (tmp_path / "mnt").exists()


# Errors ------------------------------------------------------------------------------------------


def test_without_an_address_publish_says_so(machine: Any) -> None:
    done = machine.command("publish")
    assert (1, True) == (done.returncode, "publish.url is not set" in done.stderr)


def test_an_option_that_nobody_knows_is_named(
    published: Callable[[str], Any], s3: S3, bucket: str
) -> None:
    machine = published(f"{s3.url(bucket)}&color=blue")
    done = machine.command("publish")
    assert (78, True) == (done.returncode, "publish.url: 'color' is not an option" in done.stderr)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_snapshot_that_is_not_what_was_written_is_written_again_before_it_is_published(
    published: Callable[[str], Any], tmp_path: Path, damage: str
) -> None:
    (tmp_path / "team").mkdir()
    machine = published((tmp_path / "team").as_uri())
    machine.config.write_text('host = "laptop"\n')
    run_once(machine)
    path = machine.home / "parquet/event_date=2026-01-01/laptop.parquet"
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.unlink()
    published((tmp_path / "team").as_uri())
    assert machine.command("publish").returncode == 0
    assert list(snapshots(tmp_path / "team")) == ["event_date=2026-01-02/laptop.parquet"]
    run_once(machine)
    assert len(snapshots(tmp_path / "team")) == 2
    assert snapshots(machine.home / "parquet") == snapshots(tmp_path / "team")


def test_the_wait_between_attempts_doubles_up_to_an_hour(tmp_path: Path) -> None:
    clock = [0]
    waits = []

    def fail(_url: str) -> Any:
        raise OSError("no network")

    with Ledger(tmp_path / "ledger.db") as store, Reader(tmp_path / "ledger.db") as reader:
        for _ in range(9):
            with pytest.raises(publishing.PublishError, match="no network"):
                list(
                    publishing.publish(
                        store,
                        reader,
                        "s3://bucket",
                        open_destination=fail,
                        path_of=lambda _day: Path(),
                        now=lambda: clock[-1],
                    )
                )
            (failing,) = [row for row in [reader.publishing.failed()] if row is not None]
            waits.append((failing.next_us - clock[-1]) // MINUTE_US)
            clock.append(failing.next_us)
        assert reader.publishing.failed() == FailedAttempts(9, 0, clock[-1], "no network")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


# Many hosts ---------------------------------------------------------------------------------------


def test_google_and_s3_addresses_are_taken_and_no_other_is() -> None:
    assert type(destination("file:///mnt/team")).__name__ == "Folder"
    assert type(destination("s3://bucket/prefix?region=eu-central-1")).__name__ == "Bucket"
    assert type(destination("gs://anonymous@bucket/prefix")).__name__ == "Bucket"


def test_a_bucket_is_one_table(published: Callable[[str], Any], s3: S3, bucket: str) -> None:
    run_once(published(s3.url(bucket)))
    files, root = pafs.FileSystem.from_uri(s3.url(bucket))
    table = ds.dataset(root, filesystem=files, partitioning="hive").to_table()
    assert sorted(table["tokens_in"].to_pylist()) == [1, 2]
