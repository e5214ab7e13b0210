"""What a real Prometheus makes of the metrics, the alerts and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from prodlensd import config
from prodlensd.app.http import http_server
from prodlensd.app.metrics import exposition, write_textfile

pytestmark = [pytest.mark.real_programs, pytest.mark.xdist_group("prometheus")]

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = DOCS / "grafana-dashboard.json"
ALERTS = DOCS / "alerts.yaml"
#: What Grafana puts in.
VARIABLES = {"$instance": ".*", "$__rate_interval": "5m", "$__range": "1h"}
_START_S = 60
_NAME = re.compile(r"\bprodlensd_[a-z_]+")
_SUFFIX = re.compile(r"_(bucket|count|sum)$")


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"no {name}: `make test-all` installs prometheus")
    return path


def promtool(*arguments: str | Path, stdin: bytes = b"") -> str:
    done = subprocess.run(
        [program("promtool"), *arguments],
        input=stdin,
        capture_output=True,
        timeout=100,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def trace_line(number: int, **more: Any) -> bytes:
    record = {
        "timestamp": "2026-01-01T00:00:00Z",
        "id": f"r-{number}",
        "litellm_call_id": f"c-{number}",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return json.dumps(record | more).encode() + b"\n"


def expressions() -> list[str]:
    """Every expression of the dashboard, as Grafana would ask it."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression
            found.append(expression)
    return found


@pytest.fixture
def loaded(machine: Any) -> config.Config:
    """A configuration that serves metrics."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Whenever it is, at least one of their periods has a whole step behind it, to expect from.
    budgets = (
        f'[[budget]]\nname = "{kind} \\"b\\""\n{kind}_usd = 5\n'
        for kind in ("daily", "weekly", "monthly")
    )
    machine.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n{"".join(budgets)}')
    return config.load(machine.config)


@pytest.fixture
def ingested(machine: Any, loaded: config.Config, wait_until: Callable[..., Any]) -> config.Config:
    """The same with a ledger behind it, into which a daemon has taken a bit of everything."""
    lines = [trace_line(n, cost_usd=0.25) for n in range(30)]
    lines += [trace_line(n) for n in range(30, 37)]  # of no model, so of no price
    lines += [trace_line(1), b"\n", b"garbage\n", trace_line(99, metadata={"repo": ".."})]
    (machine.logs / "a.jsonl").write_bytes(b"".join(lines))
    machine.start()
    wait_until(lambda: machine.query("SELECT total(lines) FROM sources") == [41], "all lines")
    return loaded


class Prometheus:
    """A server of its own on this machine, which scrapes one target each second."""

    def __init__(self, folder: Path, target: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": "prodlensd", "static_configs": [{"targets": [target]}]}
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(settings))  # JSON is YAML
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={file}",
                    f"--web.listen-address={self.address}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                ],
                stderr=log,
                cwd=folder,
            )

    def ask(self, expression: str) -> list[float]:
        """The values that an expression has now; none while nobody answers."""
        asked = [program("promtool"), "query", "instant", "-o", "json"]
        done = subprocess.run(
            [*asked, f"http://{self.address}", expression],
            capture_output=True,
            timeout=100,
            check=False,
        )
        if done.returncode != 0:
            assert self.process.poll() is None, self.log.read_text()
            return []
        return [float(sample["value"][1]) for sample in json.loads(done.stdout)]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(100)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(100)


@pytest.fixture
def prometheus(
    ingested: config.Config, tmp_path: Path, wait_until: Callable[..., Any]
) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with ExitStack() as stack:
        stack.enter_context(http_server(ingested, None, structlog.get_logger()))
        prometheus = Prometheus(folder, ingested.http.listen)
        stack.callback(prometheus.stop)
        wait_until(lambda: prometheus.ask("prodlensd_up"), "the first scrape", timeout_s=_START_S)
        yield prometheus


def test_promtool_finds_nothing_to_say_about_the_metrics(ingested: config.Config) -> None:
    assert promtool("check", "metrics", stdin=exposition(ingested)) == ""


def test_nor_about_those_of_no_ledger_at_all(loaded: config.Config) -> None:
    assert promtool("check", "metrics", stdin=exposition(loaded)) == ""


def test_nor_about_a_text_file(ingested: config.Config, tmp_path: Path) -> None:
    path = tmp_path / "prodlensd.prom"
    write_textfile(path, exposition(ingested))
    assert promtool("check", "metrics", stdin=path.read_bytes()) == ""


def test_prometheus_answers_with_the_ledgers_numbers(
    machine: Any, prometheus: Prometheus, wait_until: Callable[..., Any]
) -> None:
    def answers(expression: str, value: float) -> None:
        wait_until(lambda: prometheus.ask(expression) == [value], expression, timeout_s=_START_S)

    answers('up{job="prodlensd"}', 1)
    answers("prodlensd_up", 1)
    answers("prodlensd_lines_total", 41)
    answers("prodlensd_calls_total", 38)
    answers('prodlensd_cost_usd{cost_source="gateway"}', 7.5)
    answers("prodlensd_unpriced_calls", 8)
    answers('prodlensd_dead_letters{reason="invalid_json"}', 1)
    answers("sum(prodlensd_priced_calls) + sum(prodlensd_unpriced_calls)", 38)
    answers("prodlensd_input_tokens", 380)
    with (machine.logs / "a.jsonl").open("ab") as log:
        log.write(b"".join(trace_line(n, cost_usd=0.5) for n in range(100, 110)))
    answers("prodlensd_calls_total", 48)
    answers('prodlensd_cost_usd{cost_source="gateway"}', 12.5)
    # More than one in a hundred has no price: the alert waits for its time.
    answers('count(ALERTS{alertname="ProdlensdUnpriced", alertstate="pending"})', 1)
    assert prometheus.ask('ALERTS{alertname="ProdlensdNotIngesting"}') == []


def test_every_expression_of_the_dashboard_is_understood(prometheus: Prometheus) -> None:
    for expression in expressions():
        # promtool fails on what Prometheus refuses, here with its words.
        promtool("query", "instant", f"http://{prometheus.address}", expression)
    silent = [each for each in expressions() if "[" not in each and not prometheus.ask(each)]
    assert silent == []


def test_dashboard_and_alerts_use_only_what_is_exported(ingested: config.Config) -> None:
    text = exposition(ingested).decode()
    exported = {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }
    labels = {
        label
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for label in sample.labels
    }
    rules = "\n".join(line for line in ALERTS.read_text().splitlines() if "#" not in line)
    assert set(_NAME.findall(rules)) <= exported
    assert set(_NAME.findall(" ".join(expressions()))) <= exported
    by = re.findall(r"by \((\w+)\)", " ".join(expressions()))
    assert {*by} <= labels
    shown = {_SUFFIX.sub("", name) for name in _NAME.findall(" ".join(expressions()))}
    unseen = {_SUFFIX.sub("", name) for name in exported} - shown
    assert unseen == {
        "prodlensd_accepted_dead_letters",
        "prodlensd_budget_unknown_calls",
        "prodlensd_budget_unpriced_calls",
        "prodlensd_build_info",
        "prodlensd_last_snapshot_timestamp_seconds",
        "prodlensd_log_files",
        "prodlensd_pruned_calls",
        "prodlensd_start_time_seconds",
    }


def test_the_alerts_are_sound() -> None:
    assert "4 rules found" in promtool("check", "rules", ALERTS)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", DOCS / "alerts.test.yaml")
    told = (DOCS / "alerts.test.yaml").read_text()
    for alert in re.findall(r"alert: (\w+)", ALERTS.read_text()):
        assert re.search(rf"alertname: {alert} }}", told), f"{alert}: no test that it keeps silent"
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n", told), (
            f"{alert}: none that it fires"
        )


def test_no_panel_stacks_what_the_api_would_ask_on_what_was_paid() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    of_plan = [panel for panel in panels if "prodlensd_plan_api_usd" in json.dumps(panel)]
    assert of_plan
    for panel in of_plan:
        (name,) = (
            target["legendFormat"]
            for target in panel["targets"]
            if "prodlensd_plan_api_usd" in target["expr"]
        )
        (override,) = panel["fieldConfig"]["overrides"]
        assert override["matcher"] == {"id": "byName", "options": name}
        assert {"id": "custom.stacking", "value": {"mode": "none"}} in override["properties"]
        # The costs beside it lack the plan's, which are all zero.
        assert 'prodlensd_cost_usd{cost_source!="plan"' in panel["targets"][0]["expr"]


def test_a_dashboard_is_what_grafana_can_import() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    taken = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(taken)) == len(taken), "panels overlap"
    assert all(0 <= x < 24 for x, _ in taken)
    # No data source of one machine: Grafana asks which one is meant.
    text = json.dumps(dashboard)
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"prodlensd", "${datasource}"}
