"""The page: a file that stands alone, and what the daemon serves; its numbers are the report's."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prodlensd import config
from prodlensd.answers.page import read_address
from prodlensd.answers.questions import Question
from prodlensd.app import page as app_page
from prodlensd.app.report import report
from prodlensd.app.zone import time_zone
from prodlensd.moments import moment_of, moment_us, now_us
from prodlensd.text import money, percent
from tests.security.hostile import TEXTS
from tests.service.reading_page import Page
from tests.service.test_http import ask, free_port

#: All that a page is made of.
TAGS = set(
    "html head meta link title style body a header h1 h2 h3 p nav ul li main section dl div dt dd "
    "figure svg g path line text rect details summary table thead tbody tr th td span code footer"
    .split()
)  # fmt: skip


def call(at: str, number: int, **facts: Any) -> bytes:
    who = {"session_id": f"s-{number % 4}", "developer_id": "ana", "repo": "acme/web"}
    who |= {"team": "core"} | facts.pop("who", {})
    usage = {
        "prompt_tokens": 1000 + number,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    attributes = {
        "llm.model_name": "anthropic/claude-sonnet-4-5",
        "latency_ms": 100.0 + number,
        "ttft_ms": 10.0 + number,
        "status": "success",
    } | facts.pop("attributes", {})
    line = {
        "timestamp": f"{at}Z",
        "id": f"id-{number}",
        "litellm_call_id": f"call-{number}",
        "cost_usd": 0.25 + number / 1000,
        "attributes": attributes,
        "usage": {} if attributes["status"] == "failure" else usage,
        "metadata": who,
    }
    return json.dumps(line | facts).encode() + b"\n"


def calls() -> bytes:
    """Two weeks of three developers: two models with a price, one without, and failures."""
    lines = []
    for number in range(120):
        at = f"2026-10-{1 + number % 14:02}T{number % 24:02}:30:00"
        who = {"developer_id": ("ana", "ben", "chloé")[number % 3], "team": f"t{number % 2}"}
        if number % 10 == 0:
            failure = {"status": "failure", "error_class": f"Error{number % 20}"}
            lines.append(call(at, number, who=who, cost_usd=0.0, attributes=failure))
        elif number % 7 == 0:
            model = {"llm.model_name": "here/unheard-of"}
            lines.append(call(at, number, who=who, cost_usd=None, attributes=model))
        else:
            model = {"llm.model_name": f"anthropic/claude-{('opus', 'sonnet')[number % 2]}-4-5"}
            lines.append(call(at, number, who=who, attributes=model))
    return b"".join(lines)


OCTOBER = ("--since", "2026-10", "--until", "2026-10", "--timezone", "UTC")


def filed(machine: Any, *arguments: str) -> str:
    file = machine.home / "page.html"
    done = machine.command("report", "--format", "html", "-o", str(file), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return str(file.read_text("utf-8"))


@pytest.fixture
def team(machine: Any) -> Any:
    (machine.logs / "calls.jsonl").write_bytes(calls())
    machine.ingest()
    return machine


def reported(machine: Any, *arguments: str) -> Any:
    return json.loads(machine.command("report", "--json", *OCTOBER, *arguments).stdout)


def test_the_numbers_of_a_page_are_those_of_the_report(team: Any) -> None:
    page = Page(filed(team, *OCTOBER))
    total = reported(team)["total"]
    assert page.tiles["Cost"] == f"≥ {money(total['cost_nanousd'])}"
    assert page.tiles["Calls"] == f"{total['calls']:,}"
    assert page.tiles["Failed"] == percent(total["errors"], total["calls"])
    assert page.tiles["From the cache"] == percent(total["cache_read_tokens"], total["tokens_in"])
    assert page.tiles["Latency, p50"] == f"{total['latency_p50_ms']:.0f} ms"
    assert page.tiles["Without a price"] == f"{total['unpriced_calls']} calls"
    titles = {
        "developer": "Developers",
        "team": "Teams",
        "repo": "Repositories",
        "model": "Models",
        "session": "Sessions",
    }
    for by, title in titles.items():
        found = reported(team, "--by", by)
        costs = [group["cost_nanousd"] or 0 for group in found["groups"]]
        _, *rows, last = page.tables[title]
        assert [group[by] for group in found["groups"]] == [row[0] for row in rows]
        assert [f"{group['calls']:,}" for group in found["groups"]] == [row[1] for row in rows]
        assert [cost_of(group) for group in found["groups"]] == [row[4] for row in rows]
        assert [percent(cost, total["cost_nanousd"]) for cost in costs] == [
            row[5].replace("-", "0 %") for row in rows
        ]
        assert ["total", f"{total['calls']:,}"] == last[:2]


def cost_of(group: dict[str, Any]) -> str:
    unpriced = group["unpriced_calls"]
    if unpriced == group["billed_calls"]:
        return "unpriced"
    return ("≥ " if unpriced else "") + money(group["cost_nanousd"])


@pytest.mark.long
def test_the_table_of_each_chart_has_what_the_report_says(team: Any) -> None:
    page = Page(filed(team, *OCTOBER))
    by_day = reported(team, "--by", "day")["groups"]
    days = [f"{int(group['day'][-2:])} Oct 2026" for group in by_day]
    _, *rows = page.tables["Cost a day"]
    assert days == [row[0] for row in rows]
    assert [cost_of(group) for group in by_day] == [row[1] for row in rows]
    _, *rows = page.tables["Latency, seconds"]
    assert [f"{group['latency_p95_ms']:.0f} ms" for group in by_day] == [row[2] for row in rows]
    _, *rows = page.tables["Input from the cache"]
    assert [f"{group['tokens_in']:,}" for group in by_day] == [row[1] for row in rows]
    by_hour = {
        (group["weekday"], group["hour"]): str(group["calls"])
        for group in reported(team, "--by", "weekday,hour", "--top", "0")["groups"]
    }
    (_, *hours), *rows = page.tables["Calls by hour and weekday, UTC"]
    assert ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] == [row[0] for row in rows]
    assert by_hour == {
        (row[0], hour): count
        for row in rows
        for hour, count in zip(hours, row[1:], strict=True)
        if count
    }
    by_error = reported(team, "--by", "error", "--sort", "failed")["groups"]
    assert [[group["error"], str(group["errors"])] for group in by_error if group["errors"]] == [
        row[:2] for row in page.tables["Errors"][1:]
    ]


@pytest.mark.long
def test_budgets_on_a_page_are_those_of_the_command(team: Any) -> None:
    at = moment_of(now_us()).replace(tzinfo=None).isoformat()
    (team.logs / "now.jsonl").write_bytes(call(at, 999, who={"team": "<b>web</b>"}))
    team.config.write_text(
        '[[budget]]\nname = "web & co"\nteam = "<b>*"\nmonthly_usd = 1\n'
        '[[budget]]\nname = "all"\ndaily_usd = 1000\n'
    )
    team.ingest()
    expected = json.loads(team.command("budget", "--json").stdout)["budgets"]
    assert ["over", "under"] == [each["state"] for each in expected]
    # They are of the running month and day, whatever the page is asked for.
    rows = Page(filed(team, *OCTOBER)).tables["Budgets"][1:]
    assert [f"${each['spent_usd']:.2f}" for each in expected] == [row[1] for row in rows]
    assert [each["state"] for each in expected] == [row[-1] for row in rows]
    assert rows[0][0].startswith("web & co: team <b>* in ")


@pytest.mark.long
def test_a_month_that_runs_says_what_it_will_have_cost(team: Any) -> None:
    noon_us = moment_us(datetime(2026, 10, 12, 12, tzinfo=UTC))
    loaded = config.load(team.config if team.config.exists() else None)
    asked = read_address("since=this-month&timezone=UTC", time_zone, noon_us)
    page = Page(app_page.file(loaded, asked.period, (), noon_us, url=None, top=10))
    question = Question(by=("day",), period=asked.period)
    expected = report(loaded, question, forecast_at_us=noon_us).forecast
    assert expected is not None
    assert expected.expected_nanousd is not None
    assert page.tiles["By the end of the month"] == f"≥ {money(expected.expected_nanousd)}"


@pytest.mark.long
def test_names_that_are_mere_claims_are_said_to_be(machine: Any) -> None:
    vouched = call("2026-10-01T10:00:00", 1, who={"developer_via": "key_user"})
    (machine.logs / "a.jsonl").write_bytes(vouched)
    machine.ingest()
    assert "no key vouches" not in Page(filed(machine, *OCTOBER)).text
    claimed = call("2026-10-01T11:00:00", 2, who={"developer_via": "header"})
    (machine.logs / "b.jsonl").write_bytes(claimed)
    machine.ingest()
    assert Page(filed(machine, *OCTOBER)).text.count("no key vouches") == 1


def test_a_file_says_what_each_name_is_made_of_and_its_links_lead_there(team: Any) -> None:
    page = Page(filed(team, *OCTOBER))
    found = reported(team, "--by", "developer,model", "--developer", "ana")["groups"]
    _, *rows, _ = page.tables["Developer ana"]
    assert [(group["model"], str(group["calls"])) for group in found] == [
        (row[0], row[1]) for row in rows
    ]
    links = [*page.attributes("href")]
    places = [f"#{place}" for place in page.attributes("id")]
    assert len(set(places)) == len(places)
    assert {link for link in links if link != "data:,"} <= set(places)
    assert {"#developer-1", "#model-3", "#session-4"} <= set(links)


def test_a_file_is_whole_alone_and_may_load_and_run_nothing(team: Any) -> None:
    text = filed(team)
    page = Page(text)
    assert {tag.name for tag in page.tags} <= TAGS
    assert not [*page.attributes("src"), *page.attributes("style")]
    assert not [name for tag in page.tags for name in tag.attributes if name.startswith("on")]
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(tag.attributes["content"] for tag in page.tags if "http-equiv" in tag.attributes)
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


MARKUP = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "attribute": "' onmouseover='alert(1)",
    "address": "javascript:alert(1)",
    "template": "{{ 7 * 7 }}{% raw %}",
    "entity": "&lt;b&gt;&#0;",
    "comment": "--><!-- ]]>",
    "expression": "datum.x; alert(1)",
} | TEXTS


def test_no_name_does_anything_on_a_page(machine: Any) -> None:
    lines = []
    for number, name in enumerate(MARKUP.values()):
        who = {"developer_id": name, "session_id": name, "team": name, "repo": name}
        failed = {"llm.model_name": name, "status": "failure", "error_class": name}
        model = {"llm.model_name": name}
        lines += [
            call("2026-10-01T10:00:00", 2 * number, who=who, attributes=model),
            call("2026-10-02T10:00:00", 2 * number + 1, who=who, attributes=failed),
        ]
    (machine.logs / "calls.jsonl").write_bytes(b"".join(lines))
    machine.ingest()
    text = filed(machine, *OCTOBER, "--top", "0")
    page = Page(text)
    assert {tag.name for tag in page.tags} <= TAGS
    assert not [name for tag in page.tags for name in tag.attributes if name.startswith("on")]
    assert all(href.startswith("#") or href == "data:," for href in page.attributes("href"))
    # And yet each is there to be read.
    names = {row[0] for row in page.tables["Developers"]}
    for name in ("script", "image", "attribute", "address", "template", "entity", "comment"):
        assert MARKUP[name] in names
    assert {char for char in html.unescape(text) if not char.isprintable()} == {"\n"}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--by", "model"), "--format html has tables of its own, without --by: leave that out"),
        (("--columns", "cost"), "without --columns"),
        (("--wide",), "without --wide"),
        (("--since", "todai"), "'todai' is not a time; did you mean today?"),
    ],
)
def test_an_option_that_says_nothing_to_a_page_is_refused(
    team: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = team.command("report", "--format", "html", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.long
def test_a_page_of_no_calls_says_when_there_are_some(team: Any) -> None:
    page = Page(filed(team, "--since", "2026-09", "--until", "2026-09"))
    assert "No calls in this time; there are calls from 1 Oct 2026 to 14 Oct 2026." in page.text
    page = Page(filed(team, *OCTOBER, "--developer", "nobody"))
    assert "No calls pass these filters in this time" in page.text
    assert "developer nobody" in page.text


def test_without_a_ledger_there_is_no_page(machine: Any) -> None:
    done = machine.command("report", "--format", "html")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")


def test_without_the_extra_a_file_and_an_address_say_what_to_install(
    team: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "a page needs jinja2 and vl-convert-python: "
    without = "from prodlensd.answers import page\npage.find_spec = lambda _name: None"
    file = team.home / "page.html"
    done = team.command("report", "--format", "html", "-o", str(file), first=without)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {said}")
    assert not file.exists()
    monkeypatch.setattr("prodlensd.answers.page.find_spec", lambda _name: None)
    answer = app_page.served(config.load(), "since=7d")
    assert answer.status == 501
    assert answer.body.decode().startswith(said)


@pytest.mark.long
def test_a_page_of_many_hosts_names_those_that_are_behind(team: Any, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    team.config.write_text(f'[publish]\nurl = "file://{bucket}"\n')
    assert team.command("publish").returncode == 0
    page = Page(filed(team, *OCTOBER, "--from", f"file://{bucket}"))
    assert page.tiles["Calls"] == "120"
    assert page.text.count(f"AI usage on file://{bucket}") == 2
    assert "Last line seen" not in page.tiles


# Served -------------------------------------------------------------------------------------------


@pytest.fixture
def port(team: Any) -> int:
    """The port at which a daemon serves the team's page."""
    port = free_port()
    team.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n')
    team.start("--config", str(team.config))
    return port


def served(port: int, target: str, status: int = 200) -> Page:
    found, headers, body = ask(port, target)
    assert found == status, body
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(body.decode())


def test_the_daemon_serves_the_page_of_each_address(team: Any, port: int) -> None:
    page = served(port, "/?since=2026-10&until=2026-10&timezone=UTC&developer=chlo%C3%A9")
    total = reported(team, "--developer", "chloé")["total"]
    assert page.tiles["Calls"] == str(total["calls"])
    assert page.tiles["Cost"] == f"≥ {money(total['cost_nanousd'])}"
    links = [link for link in page.attributes("href") if link not in ("#main", "data:,")]
    assert all(link.startswith("/") and not link.startswith("//") for link in links)
    # From there to a day, to one of its models, and to all developers again.
    assert "/?since=2026-10-03&until=2026-10-03&timezone=UTC&developer=chlo%C3%A9" in links
    model = next(link for link in links if "model=" in link)
    assert served(port, model).tiles["Calls"]
    assert "/?since=2026-10&until=2026-10&timezone=UTC" in links


def test_the_head_of_a_page_lets_a_browser_do_nothing_with_it(port: int) -> None:
    status, headers, body = ask(port, "/?since=always")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("; frame-ancestors 'none'")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(port, "/?since=always", method="HEAD")[2] == b""
    assert ask(port, "/", method="POST")[0] == 405
    assert ask(port, "/", host="evil.example")[0] == 403
    assert body.startswith(b"<!DOCTYPE html>")


@pytest.mark.long
def test_another_site_cannot_have_a_browser_load_the_page(port: int) -> None:
    def load(dest: str) -> int:
        head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Dest: {dest}\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=100) as client:
            client.sendall(f"{head}Sec-Fetch-Site: cross-site\r\n\r\n".encode())
            return int(client.recv(65536).split(b" ")[1])

    assert [load(dest) for dest in ("image", "iframe", "empty", "document")] == [403, 403, 403, 200]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sinse=7d", "the address: there is no 'sinse'; did you mean since?"),
        ("since=%3Cscript%3E", "since: '<script>' is not a time"),
        ("since=%ff%00", "is not a time"),
        ("&".join(["tag=x"] * 51), "the address: more than 50 names in it"),
    ],
)
def test_a_bad_question_is_a_page_with_a_sentence(port: int, query: str, said: str) -> None:
    page = served(port, f"/?{query}", 400)
    assert said in page.text
    assert {tag.name for tag in page.tags} <= TAGS
    assert "/?since=this-month" in page.attributes("href")


@pytest.mark.long
def test_the_process_that_makes_pages_dies_with_the_daemon(
    team: Any, wait_until: Callable[..., Any]
) -> None:
    port = free_port()
    team.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n')
    command = [sys.executable, "-m", "prodlensd", "run", "--config", str(team.config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_until(
                lambda: (
                    team.query("SELECT pid FROM daemon WHERE phase = 'running'") == [daemon.pid]
                ),
                "the daemon",
            )
            served(port, "/?since=always")
            makers = [
                pid for pid in children(daemon.pid) if b"page" in command_line(pid).split(b"\0")
            ]
            assert len(makers) == 1
        finally:
            daemon.kill()
    wait_until(lambda: not command_line(makers[0]), "its end")
    assert not [*team.home.glob(".spill-*")]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.long
def test_an_address_cannot_make_the_page_read_files(port: int) -> None:
    for query in ("from=file:///etc", "config=/etc/passwd", "output=/tmp/x"):
        served(port, f"/?{query}", 400)
    assert ask(port, "/page.css")[0] == 404
