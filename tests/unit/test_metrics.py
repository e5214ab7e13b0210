"""The exposition: what Prometheus reads, and whether it is what the ledger holds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from prodlensd.answers import metrics
from prodlensd.answers.status import check_health
from prodlensd.answers.verify.differences import Differences
from prodlensd.answers.verify.ledger import LedgerChecks
from prodlensd.daemon.meter import Meter
from prodlensd.ledger import Ledger, Letters
from prodlensd.ledger.heartbeat import Heartbeat
from prodlensd.ledger.reading import Reader
from prodlensd.ledger.sources import SourceReader
from prodlensd.model import REASONS, Checkpoint, Chunk, Outcome, Price, Sighting, Trace
from prodlensd.pipeline import build
from prodlensd.pricing import Pricer

NOW_US = 1_800_000_000_000_000
STALLED_S = 30.0
#: What `status` never loads.
HEAVY = {"genai_prices", "litellm", "pyarrow", "rich", "structlog", "watchdog"}


class Observed:
    """A ledger in the making, and what its metrics say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Ledger(path, host="laptop")

    def take(self, *records: Any, prices: list[Price] | None = None) -> None:
        """Commits one file of these lines (bytes, or records as JSON), priced one by one."""
        lines = [line if isinstance(line, bytes) else orjson.dumps(line) for line in records]
        size_bytes = sum(len(line) + 1 for line in lines)
        (start,) = self.store.sources.register(
            [Sighting("a.jsonl", 1, 2, size_bytes, 0, 0)], NOW_US
        )
        chunk = Chunk(start, lines, size_bytes, size_bytes, 0, b"")
        given = iter(prices or [])

        class AsGiven(Pricer):
            def price(self, _trace: Trace) -> Price:
                return next(given, Price(None, "unpriced"))

        self.store.commit(build(chunk, AsGiven()), NOW_US - 5_000_000)

    def beat(self, *, phase: str = "running", age_s: float = 1.0, measures: Any = None) -> None:
        self.store.beat(
            Heartbeat(
                pid=1,
                version="9.9",
                started_us=NOW_US - 3_600_000_000,
                beat_us=NOW_US - round(age_s * 1e6),
                phase=phase,
                watcher="ok",
                fault=None,
                measures=None if measures is None else json.dumps(measures),
            )
        )

    def text(self) -> str:
        return metrics.exposition(self.path, now_us=NOW_US, stalled_s=STALLED_S).decode()

    def families(self) -> dict[str, Metric]:
        return {family.name: family for family in text_string_to_metric_families(self.text())}

    def samples(self) -> dict[tuple[str, ...], float]:
        """Each sample by its name and the values of its labels."""
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in self.families().values()
            for sample in family.samples
        }


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Observed]:
    ledger = Observed(tmp_path / "prodlens.db")
    with ledger.store:
        yield ledger


def call(number: int, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": f"2026-01-01T00:00:{number % 60:02d}Z",
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "usage": {"input_tokens": 10, "output_tokens": 4},
    } | more


def test_an_empty_ledger_has_every_known_series_at_zero(ledger: Observed) -> None:
    samples = ledger.samples()
    for source in metrics.COST_SOURCES:
        assert samples["prodlensd_cost_usd", source] == 0
        assert samples["prodlensd_priced_calls", source] == 0
    for reason in REASONS:
        assert samples["prodlensd_dead_letters", reason] == 0
    for name in ("lines_total", "calls_total", "unpriced_calls", "input_tokens", "lag_bytes"):
        assert samples[f"prodlensd_{name}",] == 0
    assert samples["prodlensd_append_to_commit_seconds_bucket", "+Inf"] == 0
    assert samples["prodlensd_last_line_timestamp_seconds",] == 0
    assert samples["prodlensd_up",] == 0


def test_every_cost_source_of_the_pricing_is_known() -> None:
    # Those that `Pricer.price` names; what it cannot price is no cost.
    import inspect

    from prodlensd.pricing import pricer

    source = inspect.getsource(pricer)
    assert {word for word in (*metrics.COST_SOURCES, "unpriced") if f'"{word}"' not in source} == (
        set()
    )


def test_what_only_grows_is_a_counter_and_all_else_is_not(ledger: Observed) -> None:
    types = {name: family.type for name, family in ledger.families().items()}
    counters = {name for name, type_ in types.items() if type_ == "counter"}
    assert counters == {
        "prodlensd_lines",
        "prodlensd_calls",
        "prodlensd_duplicate_lines",
        "prodlensd_blank_lines",
        "prodlensd_records",
        "prodlensd_passed_over_records",
    }
    histograms = {name for name, type_ in types.items() if type_ == "histogram"}
    assert histograms == {
        f"prodlensd_{name}_seconds" for name in ("batch", "commit", "append_to_commit")
    }
    assert set(types.values()) == {"counter", "gauge", "histogram"}


def test_every_metric_is_explained_and_named_by_its_unit(ledger: Observed) -> None:
    for name, family in ledger.families().items():
        assert name.startswith("prodlensd_")
        assert family.documentation.endswith("."), name
        assert not name.endswith(("_ms", "_us", "_nanousd", "_kb", "_percent")), name


def test_labels_are_few_and_their_values_words_of_the_program(ledger: Observed) -> None:
    labels = {
        label
        for family in ledger.families().values()
        for sample in family.samples
        for label in sample.labels
    }
    assert labels <= {"version", "reason", "cost_source", "kind", "le"}


def test_the_figures_are_those_of_the_rows(ledger: Observed) -> None:
    ledger.take(
        call(1),
        call(2, usage={"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 60}),
        call(3, attributes={"status_code": 500, "provider": "openai"}, usage={}),
        call(4, metadata={"repo": "../etc"}),
        call(1),
        b"",
        b"garbage",
        prices=[
            Price(1_500_000_000, "gateway", 1),
            Price(250_000_000, "table"),
            Price(0, "not_billable"),
            Price(None, "unpriced"),
        ],
    )
    samples = ledger.samples()
    assert samples["prodlensd_lines_total",] == 7
    assert samples["prodlensd_calls_total",] == 4
    assert samples["prodlensd_duplicate_lines_total",] == 1
    assert samples["prodlensd_blank_lines_total",] == 1
    assert samples["prodlensd_dead_letters", "invalid_json"] == 1
    assert samples["prodlensd_cost_usd", "gateway"] == 1.5
    assert samples["prodlensd_cost_usd", "table"] == 0.25
    assert samples["prodlensd_cost_usd", "free"] == 0
    assert samples["prodlensd_unpriced_calls",] == 1
    assert samples["prodlensd_failed_calls",] == 1
    assert samples["prodlensd_anomalies", "repo_slug"] == 1
    assert samples["prodlensd_last_line_timestamp_seconds",] == NOW_US / 1e6 - 5
    db = apsw.Connection(str(ledger.path), flags=apsw.SQLITE_OPEN_READONLY)
    for column in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"):
        assert (
            samples[f"prodlensd_{column}",] == db.execute(f"SELECT total({column}) FROM trace").get
        )
    for column in ("tokens_in", "tokens_out"):
        name = f"prodlensd_{column.removeprefix('tokens_')}put_tokens"
        assert samples[name,] == db.execute(f"SELECT total({column}) FROM trace").get
    for source, calls in db.execute("SELECT cost_source, count(*) FROM trace GROUP BY 1"):
        if source != "unpriced":
            assert samples["prodlensd_priced_calls", source] == calls
    db.close()


@pytest.mark.parametrize("state", ["dismissed", "purged"])
def test_an_accepted_dead_letter_is_told_apart_and_the_lines_add_up(
    ledger: Observed, state: str
) -> None:
    ledger.take(b"garbage", b"[1]", call(1), call(1), b"")
    key = ledger.store.db.execute("SELECT key FROM dead_letter LIMIT 1").get
    Letters(ledger.store).accept(state, [key])
    samples = ledger.samples()
    open_letters = [samples["prodlensd_dead_letters", reason] for reason in REASONS]
    assert (sum(open_letters), samples["prodlensd_accepted_dead_letters",]) == (1, 1)
    names = ("calls_total", "duplicate_lines_total", "blank_lines_total", "accepted_dead_letters")
    parts = [samples[f"prodlensd_{name}",] for name in names]
    assert samples["prodlensd_lines_total",] == sum(parts) + sum(open_letters) == 5


def now_a_call(row: tuple[Any, ...]) -> Outcome:
    anywhere = Checkpoint(1, "a.jsonl", 1, 2)
    return Outcome(anywhere, anywhere, [row], [b""], [], [], 1)


def test_a_counter_never_falls_when_a_dead_letter_is_redeemed(ledger: Observed) -> None:
    ledger.take(b"garbage", call(1))
    before = ledger.samples()
    key = ledger.store.db.execute("SELECT key FROM dead_letter").get
    row: Any = ledger.store.db.execute("SELECT * FROM trace").fetchone()
    ledger.store.redeem([(key, [now_a_call((row[0] + 1, *row[1:-1]))])], NOW_US)
    after = ledger.samples()
    families = ledger.families()
    for name, family in families.items():
        if family.type == "counter":
            assert after[f"{name}_total",] >= before[f"{name}_total",], name
    assert after["prodlensd_dead_letters", "invalid_json"] == 0
    assert after["prodlensd_calls_total",] == 2
    assert after["prodlensd_input_tokens",] == 20


@pytest.mark.parametrize(
    "name", ['a"} 1\nprodlensd_up 0\n#', "\\", "x\ny", "\u2028", "a" * 500, "{}", "\x00"]
)
def test_nothing_that_a_log_line_says_comes_into_the_metrics(ledger: Observed, name: str) -> None:
    empty = {(sample[0], *sample[1:]) for sample in ledger.samples()}
    hostile = call(
        1,
        attributes={"llm.model_name": name, "provider": name, "call_type": name, "status": name},
        metadata={"session_id": name, "developer_id": name, "repo": name, "tags": [name]},
    )
    ledger.take(hostile)
    new = set(ledger.samples()) - empty
    assert ledger.samples()["prodlensd_calls_total",] == 1
    assert all(sample[0] == "prodlensd_anomalies" and sample[1].isidentifier() for sample in new)


def test_a_word_that_somebody_put_into_the_ledger_cannot_break_the_text(ledger: Observed) -> None:
    word = 'x"} 1\nprodlensd_up 7\\'
    with ledger.store.transaction():
        ledger.store.tallies.count("anomalies", metrics_counter(word))
    assert ledger.samples()["prodlensd_anomalies", word] == 1
    assert ledger.text().count("\nprodlensd_up ") == 1


def metrics_counter(*words: str) -> Any:
    from collections import Counter

    return Counter(words)


def test_the_series_of_one_metric_are_bounded(ledger: Observed) -> None:
    with ledger.store.transaction():
        ledger.store.tallies.count("anomalies", metrics_counter(*(f"kind{n}" for n in range(5000))))
    assert len(ledger.families()["prodlensd_anomalies"].samples) == 100


def test_costs_beyond_all_numbers_do_not_stop_the_ledger(ledger: Observed) -> None:
    # More nano-dollars than 64 bits hold.
    million = Price(10**15, "gateway")
    for start in range(0, 12_000, 4000):
        calls = [call(n) | {"id": f"chatcmpl-{start + n}"} for n in range(4000)]
        ledger.take(*calls, prices=[million] * 4000)
    assert ledger.samples()["prodlensd_calls_total",] == 12_000
    assert ledger.samples()["prodlensd_cost_usd", "gateway"] == 12_000_000_000


def test_histograms_are_those_of_the_heartbeat_and_cumulative(ledger: Observed) -> None:
    meter = Meter()
    meter.committed(10, 0.2, 0.004)
    meter.committed(10, 100.0, 0.004)
    meter.visible_after(0.02)
    ledger.beat(measures=meter.read(1.0).as_dict())
    samples = ledger.samples()
    assert samples["prodlensd_batch_seconds_bucket", "0.1"] == 0
    assert samples["prodlensd_batch_seconds_bucket", "0.25"] == 1
    assert samples["prodlensd_batch_seconds_bucket", "60.0"] == 1
    assert samples["prodlensd_batch_seconds_bucket", "+Inf"] == 2
    assert samples["prodlensd_batch_seconds_count",] == 2
    assert samples["prodlensd_batch_seconds_sum",] == pytest.approx(100.2)
    assert samples["prodlensd_commit_seconds_bucket", "0.005"] == 2
    assert samples["prodlensd_append_to_commit_seconds_bucket", "0.025"] == 1


@pytest.mark.parametrize("measures", [{"unknown": 1}, [], "text", {"batch_seconds": None}])
def test_measures_of_another_version_are_left_out(ledger: Observed, measures: Any) -> None:
    ledger.beat(measures=measures)
    assert ledger.samples()["prodlensd_batch_seconds_count",] == 0
    assert ledger.samples()["prodlensd_up",] == 1


@pytest.mark.parametrize(
    ("phase", "age_s", "up", "said"),
    [
        ("running", 1, 1, None),
        ("starting", 29, 1, None),
        ("running", 30, 1, None),
        ("running", 31, 0, "the daemon's last heartbeat was 31 s ago"),
        ("stopped", 1, 0, "the daemon stopped 1 s ago"),
        ("running", -5, 1, None),  # the clock was set back
    ],
)
def test_the_daemon_is_up_as_long_as_its_heart_beats(
    ledger: Observed, phase: str, age_s: float, up: int, said: str | None
) -> None:
    ledger.beat(phase=phase, age_s=age_s)
    assert ledger.samples()["prodlensd_up",] == up
    assert ledger.samples()["prodlensd_heartbeat_timestamp_seconds",] == NOW_US / 1e6 - age_s
    assert metrics.why_unhealthy(ledger.path, now_us=NOW_US, stalled_s=STALLED_S) == said


def test_without_a_ledger_it_says_so_and_still_can_be_read(tmp_path: Path) -> None:
    ledger = Observed(tmp_path / "nowhere.db")
    assert set(ledger.samples()) == {
        (
            "prodlensd_build_info",
            ledger.families()["prodlensd_build_info"].samples[0].labels["version"],
        ),
        ("prodlensd_up",),
    }
    assert ledger.samples()["prodlensd_up",] == 0
    said = metrics.why_unhealthy(ledger.path, now_us=NOW_US, stalled_s=STALLED_S)
    assert said is not None
    assert "no ledger" in said
    assert not ledger.path.exists()


def test_a_ledger_that_is_no_database_is_not_up(tmp_path: Path) -> None:
    ledger = Observed(tmp_path / "prodlens.db")
    ledger.path.write_bytes(b"no database at all" * 1000)
    assert ledger.samples()["prodlensd_up",] == 0


def test_bytes_that_are_not_read_are_the_lag(ledger: Observed, tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(b"x" * 70)
    status = log.stat()
    ledger.store.sources.register(
        [Sighting(str(log), status.st_dev, status.st_ino, 50, 0, 0)], NOW_US
    )
    assert ledger.samples()["prodlensd_lag_bytes",] == 70
    log.unlink()
    assert ledger.samples()["prodlensd_lag_bytes",] == 50
    assert ledger.samples()["prodlensd_log_files",] == 1


def test_zeros_that_stand_for_bytes_to_come_are_no_lag(ledger: Observed, tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(bytes(70))
    status = log.stat()
    ledger.store.sources.register(
        [Sighting(str(log), status.st_dev, status.st_ino, 70, 0, 0)], NOW_US
    )
    assert ledger.samples()["prodlensd_lag_bytes",] == 0
    log.write_bytes(b"x" + bytes(69))
    assert ledger.samples()["prodlensd_lag_bytes",] == 70


def test_status_reports_the_same_facts(ledger: Observed, tmp_path: Path) -> None:
    ledger.take(call(1), call(1), b"garbage", call(2, metadata={"repo": "../etc"}), b"")
    ledger.beat(measures=Meter().read(1.0).as_dict())
    for name, content in {"a": b"{}\n{", "b": bytes(70), "c": b"{}\n"}.items():
        log = tmp_path / f"{name}.jsonl"
        log.write_bytes(content)
        status = log.stat()
        ledger.store.sources.register(
            [Sighting(str(log), status.st_dev, status.st_ino, 1, 0, 0)], NOW_US
        )
    samples = ledger.samples()
    figures = check_health(ledger.path, parquet_interval_s=None, now_us=NOW_US).figures
    letters = sum(figures["dead_letter_reasons"].values())
    assert {
        "lines": samples["prodlensd_lines_total",],
        "traces": samples["prodlensd_calls_total",],
        "duplicates": samples["prodlensd_duplicate_lines_total",],
        "blanks": samples["prodlensd_blank_lines_total",],
        "dead_letters": letters + samples["prodlensd_accepted_dead_letters",],
        "unpriced_traces": samples["prodlensd_unpriced_calls",],
        "sources": samples["prodlensd_log_files",],
        "lag_bytes": samples["prodlensd_lag_bytes",],
        "snapshot_days": samples["prodlensd_snapshots",],
        "wal_bytes": samples["prodlensd_wal_bytes",],
        "store_bytes": samples["prodlensd_store_bytes",] + samples["prodlensd_wal_bytes",],
    }.items() <= figures.items()
    # Of a.jsonl 4 bytes, of b.jsonl none, of c.jsonl 3; the first file is not there to be read.
    assert (figures["lag_bytes"], figures["sources"]) == (7, 4)


def test_all_figures_are_of_one_moment(ledger: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.take(call(1))
    counts = SourceReader.counts

    def and_meanwhile_more_comes(reader: SourceReader) -> Any:
        told = counts(reader)
        ledger.take(call(2))
        return told

    monkeypatch.setattr(SourceReader, "counts", and_meanwhile_more_comes)
    samples = ledger.samples()
    assert samples["prodlensd_calls_total",] == 1
    assert samples["prodlensd_input_tokens",] == 10
    assert samples["prodlensd_unpriced_calls",] == 1


def test_a_scrape_looks_at_no_row_of_the_ledger(ledger: Observed) -> None:
    # With both tables of rows emptied behind its back, a ledger says the same.
    ledger.take(call(1), call(2), b"garbage")
    ledger.beat()
    before = ledger.samples()
    with ledger.store.transaction():
        ledger.store.db.execute("DELETE FROM call; DELETE FROM dead_letter")
    after = ledger.samples()
    changing = {
        ("prodlensd_store_bytes",),
        ("prodlensd_wal_bytes",),
        ("prodlensd_store_free_bytes",),
    }
    assert {key: after[key] for key in after.keys() - changing} == {
        key: before[key] for key in before.keys() - changing
    }


@pytest.mark.parametrize(
    ("command", "light"),
    [("run", {"prometheus_client"}), ("status", {"prometheus_client", "fasteners", *HEAVY})],
)
def test_nothing_heavy_is_loaded_before_metrics_are_asked_for(
    command: str, light: set[str]
) -> None:
    code = f"import sys, prodlensd.cli.{command}, prodlensd.app.metrics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert light & set(done.stdout.split()) == set()


def test_status_loads_nothing_heavy_when_it_runs(ledger: Observed, tmp_path: Path) -> None:
    ledger.beat()
    ledger.path.with_name(f"{ledger.path.name}.lock").touch()
    config = tmp_path / "config.toml"
    (tmp_path / "logs").mkdir()
    config.write_text(f'[logs]\ndirectories = ["{tmp_path}/logs"]\n[store]\npath = "{ledger.path}"')
    code = (
        "import sys; from prodlensd.cli import main\n"
        f"try: main(['status', '-c', {str(config)!r}])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("daemon"), done.stderr
    assert {"prometheus_client", *HEAVY} & set(done.stderr.split()) == set()


def test_the_text_file_is_whole_and_readable_for_all(tmp_path: Path) -> None:
    from prodlensd.app.metrics import write_textfile

    path = tmp_path / "prodlensd.prom"
    for text in (b"one 1\n", b"two 2\n"):
        write_textfile(path, text)
        assert path.read_bytes() == text
        assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    from prodlensd.app.metrics import write_textfile

    (tmp_path / "prodlensd.prom").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_textfile(tmp_path / "prodlensd.prom", b"one 1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["prodlensd.prom"]
    with pytest.raises(FileNotFoundError):
        write_textfile(tmp_path / "nowhere" / "prodlensd.prom", b"one 1\n")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE total SET tokens_out = 5", "total of tokens_out of cost_source unpriced"),
        ("DELETE FROM total", "total of tokens_in of cost_source unpriced"),
        ("UPDATE tally SET traces = 9 WHERE column = 'status'", "tally of status success"),
        ("DELETE FROM tally WHERE column = 'reason'", "tally of reason invalid_json"),
        ("INSERT INTO total VALUES ('gateway', 1, 0, 0, 0, 0, 0)", "total of cost_nanousd of"),
    ],
)
def test_verify_names_a_total_that_is_wrong(ledger: Observed, damage: str, what: str) -> None:
    ledger.take(call(1), b"garbage")
    assert differences(ledger) == []
    ledger.store.db.execute(damage)
    assert [each for each in differences(ledger) if each.startswith(what)]


def differences(ledger: Observed) -> list[str]:
    found = Differences()
    with Reader(ledger.path) as reader:
        LedgerChecks(reader, "ledger", found).compare_tables(reader.sources.all())
    return [difference.what for difference in found.named]
