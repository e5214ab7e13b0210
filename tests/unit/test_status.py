"""Health: each limit at the value and just beyond it, what waits, the proxy, and the line."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from msgspec.structs import asdict

from prodlensd import __version__, config
from prodlensd.answers import facts, metrics, proxy, status
from prodlensd.answers.facts import Follow
from prodlensd.answers.gauges import Check, Gauge, Limits
from prodlensd.answers.status import Health, check_health
from prodlensd.cli.status import _json, _line, _text
from prodlensd.daemon.meter import Meter
from prodlensd.ledger import Ledger
from prodlensd.logs.tailer import Tailer

NOW_US = 1_795_000_000_000_000  # 2026-11-18, in the middle of a day
TODAY_US = NOW_US // 86_400_000_000 * 86_400_000_000
S = 1_000_000


class Observed:
    """A ledger and its folder of logs, whose facts a test sets as it likes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "prodlens.db"
        self.follow: Follow = lambda checkpoints: Tailer(
            [folder / "logs"],
            include=config.Logs(directories=()).include,
            recursive=False,
            max_line_bytes=1 << 20,
            checkpoints=checkpoints,
        )
        self.log = folder / "logs" / "a.jsonl"
        self.log.parent.mkdir(parents=True)
        with Ledger(self.path):
            pass
        self.beat()
        self.has_read_a_call()

    def sql(self, sql: str, *bindings: object) -> None:
        with apsw.Connection(str(self.path)) as db:
            db.execute(sql, bindings)
        db.close()

    def beat(self, **told: object) -> None:
        beat: dict[str, object] = {
            "pid": os.getpid(),
            "version": __version__,
            "started_us": NOW_US - 3600 * S,
            "beat_us": NOW_US - 5 * S,
            "phase": "running",
            "watcher": "ok",
            "fault": None,
            "measures": None,
        } | told
        marks = ", ".join("?" * len(beat))
        self.sql(
            f"INSERT OR REPLACE INTO daemon (id, {', '.join(beat)}) VALUES (1, {marks})",
            *beat.values(),
        )

    def has_read_a_call(self) -> None:
        """Of a log that is gone: the ledger is not one that no line has ever come to."""
        self.sql(
            "INSERT INTO source (path, host, dev, inode, size_bytes, offset, chain, "
            "first_seen_us, state, lines, traces, records) "
            "VALUES ('', '', 0, 0, 1, 1, x'', 0, 'gone', 1, 1, 1)"
        )

    def follows(
        self, offset: int, size_bytes: int, *, read_s_ago: float = 1.0, **told: Any
    ) -> None:
        """The log is a source, read up to `offset` when it had this size."""
        stat = self.log.stat()
        row: dict[str, object] = {
            "path": str(self.log),
            "host": "h",
            "dev": stat.st_dev,
            "inode": stat.st_ino,
            "size_bytes": size_bytes,
            "offset": offset,
            "chain": b"",
            "record_bytes": min(offset, 1),
            "first_seen_us": NOW_US - 3600 * S,
            "last_read_us": int(NOW_US - read_s_ago * S),
        } | told
        marks = ", ".join("?" * len(row))
        self.sql(f"INSERT INTO source ({', '.join(row)}) VALUES ({marks})", *row.values())

    def writes(self, content: bytes, *, s_ago: float = 1.0) -> None:
        self.log.write_bytes(content)
        at_ns = int(NOW_US - s_ago * S) * 1000
        os.utime(self.log, ns=(at_ns, at_ns))

    def trace(self, started_us: int, key: str) -> None:
        self.sql(
            "INSERT INTO call (started_us, key, common_id, source_id, source_offset) "
            "VALUES (?, ?, 1, 1, 0)",
            *(started_us, key),
        )

    def look(self, **limits: Any) -> Health:
        proxy_url = limits.pop("proxy_url", "")
        return check_health(
            self.path,
            parquet_interval_s=300,
            now_us=NOW_US,
            limits=Limits(**limits),
            follow=self.follow,
            proxy_url=proxy_url,
        )


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observed:
    monkeypatch.setattr(status, "is_held", lambda _path: True)
    # On a busy machine a healthy server may take its time.
    monkeypatch.setattr(proxy, "TIMEOUT_S", 30.0)
    # 5 GB free, whatever the disk of this machine has.
    disk = SimpleNamespace(f_bavail=5_000_000, f_frsize=1000)
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    return Observed(tmp_path / "home")


def check(health: Health, name: str) -> Check:
    return next(check for check in health.checks if check.name == name)


def gauge(health: Health, name: str) -> Gauge:
    return next(g for check in health.checks for g in check.gauges if g.name == name)


# Limits


def late(ledger: Observed) -> None:
    ledger.beat(beat_us=NOW_US - 40 * S)


def behind(ledger: Observed) -> None:
    ledger.writes(b"12345\n" * 10, s_ago=400)
    ledger.follows(6, 12)


def refused(ledger: Observed) -> None:
    ledger.sql("INSERT INTO tally VALUES ('reason', 'invalid_json', 3)")


def unpriced(ledger: Observed) -> None:
    ledger.writes(b"")
    ledger.follows(0, 0, lines=99, traces=99, records=99)
    ledger.sql("INSERT INTO tally VALUES ('cost_source', 'unpriced', 29)")


def dirty(ledger: Observed) -> None:
    ledger.sql(
        "INSERT INTO partition (day, version, compacted_version, compacted_us) VALUES (1, 2, 1, ?)",
        NOW_US - 1200 * S,
    )


def never_compacted(ledger: Observed) -> None:
    ledger.beat(started_us=NOW_US - 1200 * S)
    ledger.sql("INSERT INTO partition (day, version) VALUES (1, 1)")


def large_wal(ledger: Observed) -> None:
    ledger.path.with_name("prodlens.db-wal").write_bytes(b"\0" * 5000)


def silent(ledger: Observed) -> None:
    ledger.writes(b"1\n", s_ago=7200)
    ledger.follows(2, 2, read_s_ago=7200)


def nothing(_ledger: Observed) -> None:
    pass


@pytest.mark.parametrize(
    ("arrange", "name", "key", "at", "beyond", "state"),
    [
        (late, "daemon", "heartbeat_critical_s", 40, 39.999, "critical"),
        (behind, "tail", "lag_warning_bytes", 54, 53, "warning"),
        (behind, "tail", "lag_warning_s", 400, 399.999, "warning"),
        (refused, "ingest", "dead_letters_warning_count", 3, 2, "warning"),
        (unpriced, "pricing", "unpriced_warning_share", 0.29, 0.2899, "warning"),
        (dirty, "snapshots", "snapshot_warning_intervals", 4, 3.999, "warning"),
        (never_compacted, "snapshots", "snapshot_warning_intervals", 4, 3.999, "warning"),
        (nothing, "store", "free_warning_bytes", 5_000_000_000, 5_000_000_001, "warning"),
        (nothing, "store", "free_critical_bytes", 5_000_000_000, 5_000_000_001, "critical"),
        (large_wal, "store", "wal_warning_bytes", 5000, 4999, "warning"),
        (silent, "proxy", "silence_warning_s", 7200, 7199.999, "warning"),
    ],
)
def test_at_its_limit_a_check_is_ok_and_just_beyond_it_is_not(
    ledger: Observed,
    arrange: Callable[[Observed], None],
    name: str,
    key: str,
    at: float,
    beyond: float,
    state: str,
) -> None:
    arrange(ledger)
    wide: dict[str, Any] = {
        "heartbeat_critical_s": 80_000,
        "lag_warning_bytes": 1 << 60,
        "lag_warning_s": 1e7,
        "dead_letters_warning_count": 1 << 60,
        "unpriced_warning_share": 1,
        "snapshot_warning_intervals": 1e6,
        "free_warning_bytes": 0,
        "free_critical_bytes": 0,
        "wal_warning_bytes": 1 << 60,
        "silence_warning_s": 1e7,
    }
    fine = check(ledger.look(**wide | {key: at}), name)
    assert (fine.state, fine.remedy) == ("ok", "")
    health = ledger.look(**wide | {key: beyond})
    bad = check(health, name)
    assert bad.state == state == health.state
    assert bad.remedy
    assert [c.name for c in health.checks if c.state != "ok"] == [name]


def test_the_limits_are_those_of_the_configuration() -> None:
    keys = config.Status.__struct_fields__
    assert asdict(Limits()) == {key: getattr(config.Status(), key) for key in keys}


def test_the_limits_are_shown_beside_the_values(ledger: Observed) -> None:
    assert check(ledger.look(), "store").thresholds == {
        "wal": {
            "value": 0,
            "unit": "B",
            "warning": 268_435_456,
            "critical": None,
            "bad_when": "above",
        },
        "free": {
            "value": 5_000_000_000,
            "unit": "B",
            "warning": 1 << 30,
            "critical": 64 << 20,
            "bad_when": "below",
        },
    }


def test_an_open_gap_is_a_warning_that_says_what_was_lost(ledger: Observed) -> None:
    ledger.sql("INSERT INTO gap VALUES (1, 1, 0, 1234, 'truncated', 'open', 0)")
    found = check(ledger.look(), "ingest")
    assert found.state == "warning"
    assert "1.2 kB destroyed" in found.value
    ledger.sql("UPDATE gap SET state = 'acknowledged'")
    assert check(ledger.look(), "ingest").state == "ok"


# The daemon


def test_a_daemon_older_than_what_is_installed_is_to_be_restarted(ledger: Observed) -> None:
    assert check(ledger.look(), "version") == Check("version", "ok", __version__)
    ledger.beat(version="0.0.9")
    found = check(ledger.look(), "version")
    assert (found.state, found.remedy) == ("warning", "restart the daemon")
    ledger.beat(version="0.0.9", phase="stopped")
    assert check(ledger.look(), "version").state == "ok"


@pytest.mark.parametrize("age_s", [-86_400, -3600, -1, 0, 29, 30, 31, 3600])
def test_status_and_healthz_agree_whatever_the_clock_did(ledger: Observed, age_s: int) -> None:
    """Set back, the clock makes a heartbeat one of the future, until the next."""
    ledger.beat(beat_us=NOW_US - age_s * S)
    trouble = metrics.why_unhealthy(
        ledger.path, now_us=NOW_US, stalled_s=Limits().heartbeat_critical_s
    )
    expected = "ok" if age_s <= 30 else "critical"
    assert (check(ledger.look(), "daemon").state, trouble is None) == (expected, expected == "ok")


@pytest.mark.parametrize(
    ("beat", "state", "said"),
    [
        ({}, "ok", "run by another user"),
        ({"beat_us": NOW_US - 60 * S}, "critical", "run by another user, died or hangs"),
        ({"phase": "stopped"}, "critical", "not running (stopped 5 s ago)"),
    ],
)
def test_of_another_user_whose_lock_may_not_be_asked_the_heartbeat_tells(
    ledger: Observed,
    monkeypatch: pytest.MonkeyPatch,
    beat: dict[str, object],
    state: str,
    said: str,
) -> None:
    def denied(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(status, "is_held", lambda _path: None)
    monkeypatch.setattr(os, "kill", denied)
    ledger.path.with_name("prodlens.db.lock").touch()
    ledger.beat(**beat)
    found = check(ledger.look(), "daemon")
    assert found.state == state
    assert said in found.value


def test_what_the_daemon_measured_is_told_in_percentiles(ledger: Observed) -> None:
    meter = Meter()
    meter.read(0)
    for _ in range(98):
        meter.committed(10, 0.004, 0.002)
        meter.visible_after(0.009)
    for _ in range(2):
        meter.visible_after(2)
    measures = meter.read(10).as_dict()
    ledger.beat(measures=json.dumps(measures))
    health = ledger.look()
    assert check(health, "speed").value == (
        "98.0 lines/s in the last minute; visible after 10 ms, p99 2.5 s; batch 5 ms, p99 5 ms; "
        "commit 2.5 ms, p99 2.5 ms"
    )
    assert health.figures["measures"] == measures


@pytest.mark.parametrize("measures", ["", "{", "[]", "{}", '{"lines": 1, "new": 2}', "5"])
def test_measures_of_another_version_are_left_out(ledger: Observed, measures: str) -> None:
    ledger.beat(measures=measures)
    health = ledger.look()
    assert health.state == "ok"
    assert health.figures["measures"] is None


# What waits


def lag(health: Health) -> tuple[int, float]:
    return health.figures["lag_bytes"], health.figures["lag_s"]


def test_a_file_read_to_its_end_leaves_nothing_waiting(ledger: Observed) -> None:
    ledger.writes(b"1\n2\n", s_ago=5000)
    ledger.follows(4, 4)
    health = ledger.look()
    assert lag(health) == (0, 0.0)
    assert health.figures["oldest_unread_at"] is None
    assert check(health, "tail").value == "1 file, 0 B unread"


def test_a_line_appended_since_waits_from_the_last_write_on(ledger: Observed) -> None:
    ledger.writes(b"1\n2\n", s_ago=20)
    ledger.follows(2, 2, read_s_ago=5000)
    health = ledger.look()
    assert lag(health) == (2, 20.0)
    assert check(health, "tail").value == "1 file, 2 B unread, waiting for 20 s or longer"


def test_a_line_that_was_there_at_the_last_read_waits_since_then_however_much_was_written_after(
    ledger: Observed,
) -> None:
    ledger.writes(b"1\n2\n3\n", s_ago=0)
    ledger.follows(2, 4, read_s_ago=50)
    assert lag(ledger.look()) == (4, 50.0)


def test_a_line_still_being_written_does_not_wait(ledger: Observed) -> None:
    ledger.writes(b"1\n{half", s_ago=5000)
    ledger.follows(2, 7, read_s_ago=5000)
    health = ledger.look()
    assert lag(health) == (5, 0.0)
    assert health.state == "ok"
    assert "a line not finished yet" in check(health, "tail").value


def test_a_file_that_the_daemon_has_not_found_yet_waits_too(ledger: Observed) -> None:
    ledger.writes(b"1\n2\n", s_ago=30)
    health = ledger.look()
    assert lag(health) == (4, 30.0)
    assert health.figures["sources"] == 1


def test_a_renamed_file_is_found_where_it_is_now(ledger: Observed) -> None:
    ledger.writes(b"1\n2\n", s_ago=30)
    ledger.follows(2, 2, read_s_ago=60)
    ledger.log.rename(ledger.log.with_name("a.jsonl.1"))
    assert lag(ledger.look()) == (2, 30.0)


def test_of_a_gzip_file_its_content_counts(ledger: Observed) -> None:
    zipped = gzip.compress(b"1\n2\n", mtime=0)
    assert (len(zipped), b"\n" in zipped) == (24, False)
    ledger.writes(zipped, s_ago=30)
    ledger.follows(2, 4, record_bytes=0, read_s_ago=40)
    assert lag(ledger.look()) == (2, 40.0)
    ledger.sql("UPDATE source SET offset = 4")
    assert lag(ledger.look()) == (0, 0.0)


def test_a_folder_that_cannot_be_listed_is_named(ledger: Observed) -> None:
    ledger.log.parent.rmdir()
    assert "not all folders can be listed" in check(ledger.look(), "tail").value


def test_a_fifo_in_the_place_of_a_log_is_not_waited_for(ledger: Observed) -> None:
    os.mkfifo(ledger.log)
    ledger.follows(2, 4)
    assert lag(ledger.look()) == (2, 0.0)


# Other figures


def test_rows_of_today_are_those_of_the_utc_day(
    ledger: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, at_us in enumerate((-1, 0, 1, 86_400 * S - 1, 86_400 * S)):
        ledger.trace(TODAY_US + at_us, str(i))
    health = ledger.look()
    assert health.figures["rows_today"] == 3
    assert "; 3 today" in check(health, "ingest").value
    monkeypatch.setattr(facts, "MOST_ROWS_TODAY", 2)
    assert "; 2 or more today" in check(ledger.look(), "ingest").value


def test_the_price_book_is_named_without_being_loaded(ledger: Observed) -> None:
    installed = f"genai-prices {importlib.metadata.version('genai-prices')}"
    health = ledger.look()
    assert health.figures["price_book"] == installed
    assert installed in check(health, "pricing").value


def test_figures_have_the_same_names_with_and_without_a_ledger(
    ledger: Observed, tmp_path: Path
) -> None:
    none = check_health(tmp_path / "none.db", parquet_interval_s=None, now_us=NOW_US)
    assert none.figures.keys() == ledger.look().figures.keys()


# The line


RANGE = r"-?\d+(?:\.\d+)?:?"
NUMBER = r"-?\d+(?:\.\d+)?"
PERFDATUM = re.compile(
    rf"'([a-z0-9_]{{1,19}})'=({NUMBER})(|B|s|%|c);({RANGE})?;({RANGE})?;({NUMBER})?;({NUMBER})?"
)
LINE = re.compile(r"PRODLENSD (OK|WARNING|CRITICAL|UNKNOWN) - ([^|]+)(?: \| ([^|]+))?")


def is_ok(value: float, limits: str | None) -> bool:
    """As the guidelines have it: `10` is 0 to 10, `10:` is 10 and more."""
    if limits is None:
        return True
    least, colon, _ = limits.partition(":")
    return value >= float(least) if colon else 0 <= value <= float(limits)


def parsed(line: str) -> tuple[str, str, dict[str, str]]:
    """State, text, and the state of every item of the performance data. Lets nothing else pass."""
    assert line.isprintable()
    matched = LINE.fullmatch(line)
    assert matched, line
    states: dict[str, str] = {}
    for item in (matched[3] or "").split(" "):
        datum = PERFDATUM.fullmatch(item)
        assert datum, item
        assert datum[1] not in states
        worst = "OK" if is_ok(float(datum[2]), datum[4]) else "WARNING"
        states[datum[1]] = worst if is_ok(float(datum[2]), datum[5]) else "CRITICAL"
    return matched[1], matched[2], states


@pytest.mark.parametrize(
    "arrange", [nothing, late, behind, refused, unpriced, dirty, silent], ids=lambda f: f.__name__
)
def test_the_line_says_what_the_checks_say(
    ledger: Observed, arrange: Callable[[Observed], None]
) -> None:
    arrange(ledger)
    health = ledger.look(silence_warning_s=3600)
    state, text, states = parsed(_line(health))
    assert state == health.state.upper()
    gauges = [g for check in health.checks for g in check.gauges]
    assert states == {g.name: g.state.upper() for g in gauges}
    assert all(c.name in text for c in health.checks if c.state != "ok")


def test_an_item_of_performance_data_is_as_nagios_reads_it(ledger: Observed) -> None:
    line = _line(ledger.look())
    assert line.startswith("PRODLENSD OK - daemon running, pid ")
    assert " | 'heartbeat'=5s;;30;0; 'lag'=0B;67108864;;0; 'lag_time'=0s;300;;0; " in line
    assert " 'free'=5000000000B;1073741824:;67108864:;0; " in line
    assert " 'unpriced'=0%;1;;0;100 " in line


def uncoloured(text: str, *_: object, **__: object) -> str:
    return text


HOSTILE = "/x|'lag'=9B;;;;\n'free'=0B | 'a'=1\x1b]0;owned\x07\x9b31m\u202e\udcff" + "y" * 5000


@pytest.mark.parametrize("column", ["fault", "watcher", "version"])
def test_text_from_outside_neither_forges_an_item_nor_steers_a_terminal(
    ledger: Observed, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.cli.status._coloured", uncoloured)
    ledger.beat(**{column: HOSTILE.replace("\udcff", "")})
    health = ledger.look()
    state, text, states = parsed(_line(health))
    assert (state, states["lag"], "a" in states) == ("WARNING", "OK", False)
    assert len(text) < 1000
    for form in (_text, _json):
        assert [c for c in form(health) if not c.isprintable() and c != "\n"] == []


def test_a_path_from_outside_neither_forges_an_item_nor_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.cli.status._coloured", uncoloured)
    health = check_health(tmp_path / HOSTILE[:100], parquet_interval_s=None, now_us=NOW_US)
    assert parsed(_line(health) + " | 'none'=0;;;;")[0] == "CRITICAL"
    for form in (_text, _json):
        assert [c for c in form(health) if not c.isprintable() and c != "\n"] == []


# The proxy


class Proxy(BaseHTTPRequestHandler):
    code = 200
    asked: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.send_response(self.code)
        if self.code == 302:
            self.send_header("Location", "/elsewhere")
            self.send_header("Set-Cookie", "\x1b]0;owned\x07=1")
        self.end_headers()
        self.wfile.write(b'"I\'m alive!"')

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[str]:
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http_proxy(code: int = 200) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    asked: list[tuple[str, dict[str, str]]] = []
    handler = type("Handler", (Proxy,), {"code": code, "asked": asked})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield address, asked


@contextmanager
def raw_proxy(talk: Callable[[Any], None]) -> Iterator[str]:
    """A server that says whatever `talk` sends, and is then silent until the client leaves."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(1 << 16)
                talk(self.request)
                while self.request.recv(1 << 16):
                    pass
            except OSError:
                pass

    with serving(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


def asked(ledger: Observed, url: str) -> tuple[bool | None, str]:
    health = ledger.look(proxy_url=url)
    found = check(health, "proxy")
    assert (found.state == "ok") == health.figures["proxy"]
    return health.figures["proxy"], found.value


def test_a_proxy_that_is_alive_is_asked_once_without_credentials(ledger: Observed) -> None:
    silent(ledger)
    with http_proxy() as (address, requests):
        told = asked(ledger, f"http://user:secret@{address}/litellm/?key=secret#secret")
    assert told == (True, "answers, last line 2 h ago")
    [(path, headers)] = requests
    assert path == "/litellm/health/liveliness"
    assert headers.keys() == {"host", "accept-encoding"}
    assert "secret" not in str(headers)


@pytest.mark.parametrize("code", [204, 302, 401, 404, 500, 503])
def test_any_other_answer_is_not_health_and_no_redirect_is_followed(
    ledger: Observed, code: int
) -> None:
    with http_proxy(code) as (address, requests):
        told = asked(ledger, f"http://{address}")
    assert told == (False, f"says {code} when asked for its health, no line has ever come")
    assert len(requests) == 1


def test_a_proxy_that_is_not_there_refuses(ledger: Observed) -> None:
    with http_proxy() as (address, _):
        pass
    healthy, said = asked(ledger, f"http://{address}")
    assert (healthy, said.partition(",")[0]) == (False, "refuses the connection")


def drip(connection: Any) -> None:
    for _ in range(600):
        connection.sendall(b"HTTP/1.1 200 "[:1])
        threading.Event().wait(0.05)


def talk_for_ever(connection: Any) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def hang_up(connection: Any) -> None:
    connection.close()


def send(answer: bytes) -> Callable[[Any], None]:
    return lambda connection: connection.sendall(answer)


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (send(b""), "does not answer within 1 s"),
        (drip, "does not answer within 1 s"),
        (talk_for_ever, "says 100 when asked for its health"),
        (hang_up, "breaks off the connection"),
        (send(b"\x1b]0;owned\x07|'lag'=9B\r\n\r\n"), "does not speak HTTP"),
        (send(b"HTTP/1.1 99999 \x1b[31mowned\r\n\r\n"), "does not speak HTTP"),
        (send(b"HTTP/1.1 -12 x\r\n\r\n"), "does not speak HTTP"),
        (send(b"HTTP/2 200\r\n\r\n"), "does not speak HTTP"),
        (send(b"HTTP/1.1 200" * 1000), "does not speak HTTP"),
    ],
    ids=["hangs", "drips", "for-ever", "hangs-up", "garbage", "code", "minus", "two", "long"],
)
def test_a_broken_answer_is_told_in_our_words_and_in_time(
    ledger: Observed,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
    talk: Callable[[Any], None],
    said: str,
) -> None:
    if "within" in said:
        monkeypatch.setattr(proxy, "TIMEOUT_S", 1.0)
    before = threading.active_count()
    with raw_proxy(talk) as address:
        health = ledger.look(proxy_url=f"http://{address}")
        assert check(health, "proxy").value == f"{said}, no line has ever come"
        parsed(_line(health))
    wait_until(lambda: threading.active_count() <= before, "no thread stays behind")


def test_of_a_huge_answer_nothing_but_the_status_is_read(ledger: Observed) -> None:
    sent = 0

    def flood(connection: Any) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        while True:
            sent += connection.send(b"\x1b" * 65536)

    with raw_proxy(flood) as address:
        assert asked(ledger, f"http://{address}")[0] is True
    assert sent < 100 << 20


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/\x1b[31m", "http://\x1b:1", "http://a..b"])
def test_an_address_that_cannot_be_asked_is_a_warning(ledger: Observed, url: str) -> None:
    health = ledger.look(proxy_url=url)
    assert check(health, "proxy").state == "warning"
    parsed(_line(health))


def test_a_name_that_nobody_knows_is_said_in_the_words_of_the_system(
    ledger: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    healthy, said = asked(ledger, "http://proxy.example")
    assert healthy is False
    assert said.startswith("cannot be reached: Name or service not known, ")


def test_a_name_that_resolves_slowly_is_not_waited_for(
    ledger: Observed, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    looked = threading.Event()

    def slow(*_: object, **__: object) -> None:
        looked.wait(100)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(proxy, "TIMEOUT_S", 1.0)
    before = threading.active_count()
    assert "does not answer within 1 s" in asked(ledger, "http://proxy.example")[1]
    assert threading.active_count() == before + 1
    looked.set()
    wait_until(lambda: threading.active_count() == before, "the end of the thread")


def test_a_proxy_asked_by_https_that_speaks_http_is_not_healthy(ledger: Observed) -> None:
    with http_proxy() as (address, requests):
        healthy, said = asked(ledger, f"https://{address}")
    assert (healthy, requests) == (False, [])
    assert "cannot be reached: [SSL" in said


def test_a_dead_callback_is_told_from_a_dead_proxy_and_from_a_quiet_team(ledger: Observed) -> None:
    silent(ledger)
    with http_proxy() as (address, _):
        url = f"http://{address}"
        assert check(ledger.look(proxy_url=url, silence_warning_s=7200), "proxy").state == "ok"
        quiet = check(ledger.look(proxy_url=url, silence_warning_s=7000), "proxy")
    dead = check(ledger.look(proxy_url=url, silence_warning_s=7000), "proxy")
    not_asked = check(ledger.look(silence_warning_s=7000), "proxy")
    assert "send a call through the proxy" in quiet.remedy
    assert "start the LiteLLM proxy" in dead.remedy
    assert "set proxy.url" in not_asked.remedy
    assert all(found.state == "warning" for found in (quiet, dead, not_asked))
    assert check(ledger.look(), "proxy").value == "not asked, last line 2 h ago"
    never = ledger.look(silence_warning_s=0)
    assert [c.name for c in never.checks if c.name == "proxy"] == []


def test_the_last_line_is_known_by_the_file_even_while_nobody_reads_it(ledger: Observed) -> None:
    ledger.writes(b"1\n2\n", s_ago=60)
    ledger.follows(2, 2, read_s_ago=7200)
    assert check(ledger.look(silence_warning_s=3600), "proxy").value == (
        "not asked, last line 60 s ago"
    )
    ledger.log.unlink()
    assert check(ledger.look(silence_warning_s=3600), "proxy").state == "warning"
