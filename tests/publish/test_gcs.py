"""Google Cloud Storage, as far as an emulator goes: whole files, once, and an end to trying."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.venvs import venv_python

#: Prints its port, and serves until its input ends: whoever started it is gone, however it ended.
_SERVER: Final = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="team")
server._api.daemon = True
server.start()
print(server._api._httpd.server_port, flush=True)
sys.stdin.read()
"""
_RETRY_LIMIT_S: Final = 2
#: What a publish takes by itself, on a busy machine.
_START_S: Final = 60


class Stored(NamedTuple):
    """An object, and which of those that had its key."""

    content: bytes
    generation: str


class GCS:
    """An emulator with a bucket, "team"."""

    def __init__(self, python: Path, log: Path) -> None:
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, "-c", _SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            self.close()
            raise RuntimeError(f"the emulator did not start: {log.read_text()}")
        self._port = int(said)

    def url(self, prefix: str) -> str:
        query = {
            "scheme": "http",
            "endpoint_override": f"127.0.0.1:{self._port}",
            "retry_limit_seconds": _RETRY_LIMIT_S,
        }
        return f"gs://anonymous@team/{prefix}?{urlencode(query)}"

    def objects(self) -> dict[str, Stored]:
        listing = json.loads(self._get("/storage/v1/b/team/o"))
        return {
            item["name"]: Stored(
                self._get(f"/download/storage/v1/b/team/o/{quote(item['name'], safe='')}"),
                item["generation"],
            )
            for item in listing.get("items", [])
        }

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=100)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert HTTPStatus.OK == response.status, (path, body)
        return body


@pytest.fixture
def gcs(tmp_path: Path) -> Iterator[GCS]:
    gcs = GCS(venv_python(Path(__file__).with_name("gcs.txt")), tmp_path / "gcs.log")
    yield gcs
    gcs.close()


@pytest.fixture
def publishing(machine: Any, gcs: GCS) -> Any:
    """A ledger of two days, whose `publish.url` is the emulator."""
    for day in (1, 2):
        log(machine, day)
    configure(machine, gcs.url("team/prodlens"))
    return machine


def configure(machine: Any, url: str) -> None:
    machine.config.write_text(f'host = "laptop"\n[publish]\nurl = "{url}"\n')


def log(machine: Any, day: int) -> None:
    with (machine.logs / "a.jsonl").open("a") as file:
        line = {"timestamp": f"2026-01-{day:02d}T12:00:00Z", "usage": {"input_tokens": day}}
        file.write(json.dumps(line) + "\n")


def run_once(machine: Any) -> None:
    done = machine.command("run", "--once")
    assert (0, False) == (done.returncode, "cannot publish" in done.stderr), done.stderr


def test_whole_files_are_put_there_and_a_second_time_none(publishing: Any, gcs: GCS) -> None:
    run_once(publishing)
    parquet = publishing.home / "parquet"
    first = gcs.objects()
    assert {
        f"team/prodlens/event_date=2026-01-0{day}/laptop.parquet": (
            parquet / f"event_date=2026-01-0{day}" / "laptop.parquet"
        ).read_bytes()
        for day in (1, 2)
    } == {key: stored.content for key, stored in first.items()}
    again = publishing.command("publish")
    assert (0, "all snapshots are published\n") == (again.returncode, again.stdout)
    assert first == gcs.objects()
    log(publishing, 2)
    run_once(publishing)
    second = gcs.objects()
    changed = "event_date=2026-01-02/laptop.parquet"
    assert [f"team/prodlens/{changed}"] == [key for key in second if second[key] != first.get(key)]
    assert (parquet / changed).read_bytes() == second[f"team/prodlens/{changed}"].content


def test_an_emulator_that_is_gone_is_given_up_within_the_limit(publishing: Any, gcs: GCS) -> None:
    gcs.close()
    done = publishing.command("run", "--once")
    assert (0, 1) == (done.returncode, done.stderr.count("cannot publish just now"))
    began_s = time.monotonic()
    asked = publishing.command("publish")
    took_s = time.monotonic() - began_s
    assert 75 == asked.returncode
    assert asked.stderr.startswith("Error: cannot publish to gs://")
    assert took_s < _RETRY_LIMIT_S + _START_S
