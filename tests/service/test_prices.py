"""`prices show` says which price a model has and why; `prices check` which calls have none."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from prodlensd.pricing import FOREVER
from prodlensd.pricing.builtin import BuiltinBook
from prodlensd.pricing.rates import Question, Rates
from tests.service.test_reprice import FALLBACK, Desk, desk, line
from tests.service.test_terminal import on_terminal

__all__ = ["desk"]  # a fixture

BOOK = BuiltinBook()
NOVEMBER = "2026-11-22T12:00:00"
NOVEMBER_US = int(datetime.fromisoformat(f"{NOVEMBER}Z").timestamp()) * 1_000_000
SONNET = "anthropic/claude-sonnet-4-5"
UNITS = {
    "input": "input",
    "cache_read": "input read from a cache",
    "cache_write": "input written to a cache",
    "cache_write_1h": "… for one hour",
    "audio_in": "audio input",
    "output": "output",
    "reasoning": "reasoning output",
    "audio_out": "audio output",
}
OURS = """
[[pricing.override]]
model = "ours/model"
valid_from = 2026-01-01
valid_to = 2026-02-01
input_usd_per_million = 1.25
output_usd_per_million = 0.000001
"""


def shown(desk: Desk, *arguments: str, code: int = 0) -> str:
    done = desk.command("prices", "show", *arguments)
    assert (done.returncode, done.stderr) == (code, "")
    text: str = done.stdout
    return text


def shown_json(desk: Desk, *arguments: str, code: int = 0) -> Any:
    return json.loads(shown(desk, "--json", *arguments, code=code))


def lines_of(text: str, name: str) -> str:
    """What stands under one name, in one line."""
    found = re.search(rf"(?m)^{name} +(.*\n(?: +.*\n)*)", text)
    assert found, text
    return " ".join(found[1].split())


def tables(text: str) -> list[dict[str, str]]:
    """The tables of rates: the first, and those above a cliff."""
    below = text[text.index("rates    USD per million tokens\n") :].partition("\nexample ")[0]
    parts = re.split(r"\n +the whole call when its input is over .* tokens:", below)
    return [
        {name.strip(): rate for name, rate in re.findall(r"(?m)^ {9} *(\S.*?) {2,}(\S+)$", part)}
        for part in parts
    ]


def usd(pico: int | None) -> str:
    """A rate as it is printed: dollars for a million tokens, all digits, cents at least."""
    if pico is None:
        return "none"
    digits = f"{pico:07d}"
    return f"{digits[:-6]}.{digits[-6:].rstrip('0'):0<2}"


def expected_table(rates: Rates) -> dict[str, str]:
    others = {unit: usd(rate) for unit, rate in rates.others if unit.endswith("_tokens")}
    return {name: usd(getattr(rates, unit)) for unit, name in UNITS.items()} | others


# show


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", None),
        ("anthropic", "claude-opus-4-1-20250805", None),
        ("anthropic", "claude-3-5-haiku-latest", None),
        ("openai", "gpt-5", None),
        ("openai", "gpt-5", "flex"),
        ("openai", "gpt-5", "priority"),
        ("openai", "gpt-4o-mini", None),
        ("openai", "o3", None),
        ("openai", "gpt-4o-audio-preview", None),
        ("openai", "text-embedding-3-small", None),
        ("gemini", "gemini-2.5-pro", None),
        ("gemini", "gemini-2.0-flash-001", None),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
        ("azure", "gpt-4o", None),
        ("groq", "openai/gpt-oss-120b", None),
        ("openrouter", "anthropic/claude-sonnet-4.5", None),
        ("deepseek", "deepseek-v4-pro", None),
    ],
)
def test_every_number_is_the_books(desk: Any, provider: str, model: str, tier: str | None) -> None:
    modifiers = () if tier is None else (("service_tier", tier),)
    quote = BOOK.quote(Question(provider, model, NOVEMBER_US, modifiers))
    rates = quote.rates
    assert rates is not None
    asked = [model, "--provider", provider, "--at", NOVEMBER]
    asked += [] if tier is None else ["--tier", tier]
    text = shown(desk, *asked)
    assert lines_of(text, "price") == f"table: {quote.origin.book}, {quote.origin.entry}"
    assert lines_of(text, "found") == f"the name {quote.origin.match}"
    steps = (rates, *(dearer for _, dearer in rates.above))
    assert tables(text) == [expected_table(step) for step in steps]
    for threshold, _ in rates.above:
        assert f"over {threshold:,} tokens" in text
    found = shown_json(desk, *asked)
    told = [found["usd_per_million_tokens"], *(a["usd_per_million_tokens"] for a in found["above"])]
    for values, step in zip(told, steps, strict=True):
        assert {
            unit: None if v is None else round(v * 1_000_000) for unit, v in values.items()
        } == {unit: getattr(step, unit) for unit in UNITS} | {
            unit: rate for unit, rate in step.others if unit.endswith("_tokens")
        }
    uses = {unit: usd for unit, usd in rates.others if not unit.endswith("_tokens")}
    assert {unit: round(usd * 10**12) for unit, usd in found["usd_per_use"].items()} == uses
    assert [a["tokens_in_over"] for a in found["above"]] == [over for over, _ in rates.above]
    assert (found["book"], found["entry"], found["match"]) == tuple(quote.origin)
    assert (found["model"], found["provider"], found["tier"]) == (model, provider, tier)
    # The worked example, from the exact rates
    out = 0 if rates.output is None else 1000
    picos = 2000 * (rates.input or 0) + 8000 * (rates.cache_read or 0) + out * (rates.output or 0)
    example = lines_of(text, "example")
    sums = re.search(r"\(([\d,]+) x (\S+) \+ ([\d,]+) x (\S+) \+ ([\d,]+) x (\S+)\) / 1M", example)
    assert sums
    numbers = [Fraction(number.replace(",", "")) for number in sums.groups()]
    parts = [a * b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    total = sum(parts, Fraction()) / 1_000_000
    assert total == Fraction(picos, 10**12)
    printed = Fraction(example.rpartition("= $")[2])
    assert abs(printed - total) <= total / 1000
    assert [numbers[0] + numbers[2], numbers[4]] == [10_000, out]


def test_the_price_is_that_of_the_time_asked_for(desk: Any) -> None:
    def usd_in(*at: str) -> Any:
        found = shown_json(desk, "openai/o3", *at)
        return found["usd_per_million_tokens"]["input"], found["valid_from"], found["valid_until"]

    dear = usd_in("--at", "2025-06-01")
    cheap = usd_in("--at", "2025-10-12")
    assert (dear[0], cheap[0]) == (10.0, 2.0)
    assert dear[2] == cheap[1]
    assert usd_in()[0] == cheap[0]  # now
    end, day = dear[2], "2025-06-10T00:00:00"
    assert (end, cheap[1]) == (f"{day}.000000Z", end)
    for same in (end, end.removesuffix("Z"), day, f"{day}Z"):  # as it is printed, or shorter
        assert usd_in("--at", same) == cheap
    assert usd_in("--at", "2025-06-09T23:59:59.999999Z") == dear
    text = shown(desk, "openai/o3", "--at", "2025-06-01")
    assert lines_of(text, "valid") == f"until {day}Z"
    text = shown(desk, "openai/o3", "--at", "2025-10-12")
    assert lines_of(text, "valid").startswith(f"from {day}Z until ")


KEYS = {
    *("schema", "model", "provider", "at", "tier", "cost_source", "book", "entry", "match"),
    *("valid_from", "valid_until", "usd_per_million_tokens", "above", "usd_per_use"),
    *("modifiers", "unpriced_reason", "call"),
}


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        ("table", [SONNET], "table: genai-prices "),
        ("override", ["ours/model", "--at", "2026-01-31"], "override: configuration, "),
        ("fallback", ["ours/model", "--at", "2026-02-01"], "fallback: configuration, "),
        ("fallback", ["azure/my-deployment"], "fallback: configuration, "),
        ("free", ["ollama/llama3"], "free: the provider is one of pricing.free_providers"),
        ("free", ["llama3", "--provider", "ollama_chat"], "free: "),
        ("free", [SONNET, "--provider", "ollama"], "free: "),
    ],
)
def test_it_says_whose_price_counts(
    desk: Any, source: str, arguments: list[str], said: str
) -> None:
    desk.config.write_text(f"[pricing]\n{FALLBACK}{OURS}")
    text = shown(desk, *arguments)
    assert lines_of(text, "price").startswith(said)
    found = shown_json(desk, *arguments)
    assert found["cost_source"] == source
    assert found["schema"] == "prodlensd.prices-show/1"
    assert found.keys() == KEYS
    assert (found["usd_per_million_tokens"] is None) == (source == "free")
    if source == "override":
        assert lines_of(text, "valid") == "from 2026-01-01T00:00:00Z until 2026-02-01T00:00:00Z"
        assert lines_of(text, "price").endswith("pricing.override of ours/model")
        assert tables(text)[0]["output"] == "0.000001"
        assert lines_of(text, "example").endswith(
            "(2,000 x 1.25 + 8,000 x 1.25 + 1,000 x 0.000001) / 1M = $0.0125"
        )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["azure/my-deployment"], "[[pricing.override]]"),
        (["my-own"], "--provider anthropic"),  # no provider: nobody's
        (["sonnet"], "did you mean claude-sonnet-5, claude-sonnet-4-5, claude-sonnet-4-6?"),
        (["claude-sonet-4-5"], "did you mean claude-sonnet-4-5"),
        (["anthropic/claude-sonet-4-5"], "did you mean claude-sonnet-4-5"),
        (["gpt-5", "--provider", "anthropic"], "[[pricing.override]]"),
        (["openai/gpt-5", "--tier", "scale"], "[[pricing.override]]"),
        (["openai/gpt-5", "--tier", "flex", "--at", "2025-01-12"], "[[pricing.override]]"),
        ([""], "--provider anthropic"),
        (["x" * 1000], "--provider anthropic"),
    ],
)
def test_what_nobody_knows_is_unpriced_and_exit_1(
    desk: Any, arguments: list[str], advice: str
) -> None:
    text = shown(desk, *arguments, code=1)
    assert lines_of(text, "price").startswith("unpriced: no price is known for this exact name")
    assert advice in text
    found = shown_json(desk, *arguments, code=1)
    assert found.keys() == KEYS
    assert found["cost_source"] == "unpriced"
    assert found["above"] == []
    assert found["book"] is found["usd_per_million_tokens"] is None


def test_a_tier_and_a_provider_are_named(desk: Any) -> None:
    text = shown(desk, "openai/gpt-5", "--tier", "flex")
    assert lines_of(text, "model") == "openai/gpt-5, provider openai, tier flex"
    assert lines_of(shown(desk, "llama-4", code=1), "model") == "llama-4, provider unknown"


def test_an_exact_name_is_said_to_be_one(desk: Any) -> None:
    for model, said in (
        (SONNET, "the name is claude-sonnet-4-5"),
        (f"{SONNET}-20250929", "the name begins with claude-sonnet-4-5"),
    ):
        assert said == lines_of(shown(desk, model), "found")


def test_a_bare_name_is_its_makers_and_says_so(desk: Any) -> None:
    text = shown(desk, "gpt-5")
    assert lines_of(text, "found") == "the name is gpt-5; a bare name is openai's"


def test_a_call_of_the_ledger_is_explained_unit_by_unit(desk: Any) -> None:
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "server_tool_use": {"web_search_requests": 2},
        "speed": "fast",
    }
    opus = {"llm.model_name": "anthropic/claude-opus-4-8"}
    at = {"timestamp": "2026-11-02T12:00:00Z", "litellm_call_id": "call-1", "id": "msg-1"}
    desk.ingest(line(1, "x", attributes=opus, usage=usage, **at))
    text = shown(desk, "--call", "call-1")
    assert lines_of(text, "model").endswith("provider anthropic, speed fast")
    assert lines_of(text, "billed") == (
        "tokens_in 1,000 $0.01 tokens_out 100 $0.005 web_search_requests 2 $0.02"
    )
    assert lines_of(text, "ledger") == "$0.035, table"
    found = shown_json(desk, "--call", "call-1")
    assert found["modifiers"] == {"speed": "fast"}
    assert found["call"]["ledger"]["cost_nanousd"] == 35_000_000
    assert [unit["quantity"] for unit in found["call"]["billed"]] == [1000, 100, 2]


def test_a_call_that_nobody_understands_says_what_it_holds(desk: Any) -> None:
    desk.ingest(line(1, SONNET, usage={"input_tokens": 1, "output_tokens": 1, "brand_new": 7}))
    (call_id,) = desk.query("SELECT call_id FROM traces")
    text = shown(desk, "--call", call_id)
    assert lines_of(text, "unknown") == "brand_new: nobody here knows what they cost"
    assert lines_of(text, "ledger") == "unpriced: usage_unknown:brand_new"


@pytest.mark.parametrize("arguments", [[], ["gpt-5", "--call", "x"]])
def test_either_a_model_or_a_call_is_asked_for(desk: Any, arguments: list[str]) -> None:
    done = desk.command("prices", "show", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "either a MODEL or, with --call, a call" in done.stderr


def test_a_call_that_is_not_there_is_an_error(desk: Any) -> None:
    desk.ingest(line(1, SONNET))
    done = desk.command("prices", "show", "--call", "nobodys")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobodys: no call of the ledger has this id" in done.stderr


@pytest.mark.parametrize("when", ["", "yesterday", "2026-13-01", "12:00", "2026-01-01T25:00:00"])
def test_what_is_no_date_is_a_usage_error(desk: Any, when: str) -> None:
    done = desk.command("prices", "show", "gpt-5", "--at", when)
    assert done.returncode == 2
    assert "%Y-%m-%d" in done.stderr


@pytest.mark.parametrize("when", ["0001-01-01", "9999-12-31T23:59:59", "1969-12-31"])
def test_any_date_of_the_calendar_has_an_answer(desk: Any, when: str) -> None:
    done = desk.command("prices", "show", SONNET, "--at", when, "--json")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["at"].startswith(when)


def test_nothing_in_a_name_can_steer_the_terminal(desk: Any) -> None:
    evil = "\x1b]0;owned\x07\x9b31m"
    desk.config.write_text(OURS.replace("ours/model", r"\u001B]0;owned\u0007"))
    for arguments in ([evil], ["m", "--provider", evil], ["m", "--tier", evil]):
        text = shown(desk, *arguments, code=1)
        assert "owned" in text
        assert text.replace("\n", "").isprintable()
    text = shown(desk, "\x1b]0;owned\x07", "--at", "2026-01-01")
    assert "pricing.override of" in text
    assert text.replace("\n", "").isprintable()
    printed = on_terminal("prices", "show", evil)
    assert "owned" in printed
    assert "\x1b]0" not in printed


def test_it_works_without_a_ledger(desk: Any) -> None:
    with_one = shown(desk, SONNET)
    desk.stop()
    for file in desk.home.glob("prodlens.db*"):
        file.unlink()
    assert shown(desk, SONNET) == with_one
    assert not desk.ledger.exists()
    desk.restart()


def test_it_works_beside_a_daemon_and_in_a_process_of_its_own(machine: Any) -> None:
    machine.start()
    done = machine.command("prices", "show", SONNET)
    assert (done.returncode, done.stderr) == (0, "")
    assert "anthropic/claude-sonnet-4-5" in done.stdout
    assert machine.command("prices", "show", "x/y").returncode == 1


def test_a_price_that_only_the_ledger_remembers_is_shown_until_it_was_last_confirmed(
    desk: Any,
) -> None:
    desk.ingest(line(1, SONNET))
    with desk.store.db as db:
        db.execute(
            "UPDATE price SET model = 'claude-lost', confirmed_us = 1798761600000001, "
            f"until_us = {FOREVER}"
        )
    text = shown(desk, "claude-lost", "--provider", "anthropic", "--at", "2026-12-31")
    assert lines_of(text, "price").startswith("table: genai-prices ")
    assert lines_of(text, "valid").endswith("until 2027-01-01T00:00:00Z")
    later = ("claude-lost", "--provider", "anthropic", "--at", "2027-01-02")
    assert "unpriced" in shown(desk, *later, code=1)
    assert desk.query("SELECT count(*), confirmed_us FROM price") == [(1, 1798761600000001)]


# check


def checked(desk: Desk, code: int) -> tuple[list[list[str]], Any]:
    """The columns of each line, and the answer for programs."""
    text, told = (desk.command("prices", "check", *more) for more in ([], ["--json"]))
    assert (text.returncode, told.returncode) == (code, code), text.stderr
    found = json.loads(told.stdout)
    assert list(found) == ["schema", "unpriced", "disputed", "unpriced_on_plan"]
    assert found["schema"] == "prodlensd.prices-check/1"
    return [re.split(r" {2,}", row) for row in text.stdout.splitlines()], found


def test_when_all_is_well_it_says_so(desk: Any) -> None:
    desk.ingest(line(1, SONNET), line(2, "x/y", cost_usd=0.5), line(3, "ollama/x"))
    rows, found = checked(desk, 0)
    assert rows == [["every call has a price, and none is disputed"]]
    assert found["unpriced"] == found["disputed"] == found["unpriced_on_plan"] == []


def test_it_lists_what_has_no_price_most_calls_first_and_why(desk: Any) -> None:
    desk.ingest(
        line(1, "ours/model"),
        *(line(n, "theirs/model") for n in (2, 3)),
        line(4, SONNET, usage={"input_tokens": 5}),
        line(5, SONNET, usage={}),
        line(6, "theirs/model", attributes={}),
        line(7, "x", attributes={"llm.model_name": "openai/gpt-5", "service_tier": "scale"}),
        line(8, "x", attributes={"llm.model_name": "x/z"}, usage={}),
    )
    desk.config.write_text(OURS)
    rows, found = checked(desk, 1)
    nobody = "no price book has the provider theirs"
    missing = "the calls do not say how many tokens they had"
    scale = "no price is known under service_tier=scale"
    now = "has a price now (override)"
    assert sorted(row[:1] + row[2:] for row in rows[1:]) == sorted(
        [
            ["theirs/model", "-", "2", "4,000", nobody],
            [SONNET, "-", "2", "5", missing],
            ["(none)", "-", "1", "2,000", "the calls name no model"],
            ["openai/gpt-5", "scale", "1", "2,000", scale],
            ["ours/model", "-", "1", "2,000", now],
            ["x/z", "-", "1", "0", missing],
        ]
    )
    assert rows[0] == ["unpriced model", "provider", "tier", "calls", "tokens", "why"]
    assert [row[3] for row in rows[1:]] == ["2", "2", "1", "1", "1", "1"]
    assert found["disputed"] == []
    assert next(of for of in found["unpriced"] if of["model"] == "theirs/model") == {
        "model": "theirs/model",
        "provider": None,
        "tier": None,
        "unpriced_reason": "provider_unknown:theirs",
        "calls": 2,
        "tokens": 4000,
        "gateway_nanousd": None,
        "table_nanousd": None,
        "last_call_at": "2026-01-01T00:00:03.000000Z",
        "why": nobody,
    }


def test_it_says_once_what_gives_them_a_price_with_the_lines_to_paste(desk: Any) -> None:
    evil = 'mine/"\x1b[31m'
    models = ["ours/model", "theirs/one", "theirs/one", "theirs/two", evil, "theirs/four"]
    desk.ingest(*(line(n, model) for n, model in enumerate(models)), line(7, SONNET, usage={}))
    desk.config.write_text(OURS)
    done = desk.command("prices", "check")
    assert "\x1b" not in done.stderr
    before, _, after = done.stderr.partition(f"→ prices of your own, in {desk.config}:\n")
    assert "→ prodlensd reprice gives calls the price that they have now" == before.strip()
    pasted, _, then = after.partition("→")
    assert " then: prodlensd reprice\n" == then
    assert "# and 1 more model in the same way" in pasted
    given = tomllib.loads(pasted.replace("…", "1.0"))["pricing"]["override"]
    assert {"theirs/one", "theirs/two", "theirs/four", evil} > {each["model"] for each in given}
    assert 3 == len(given)
    assert "prodlensd" not in done.stdout


def test_it_gives_no_advice_where_none_helps(desk: Any) -> None:
    desk.ingest(line(1, SONNET, usage={}))
    done = desk.command("prices", "check")
    assert (1, "") == (done.returncode, done.stderr)


LIST_USD = Decimal("0.018")  # of a call of SONNET by `line`


@pytest.mark.parametrize(
    ("gateway_usd", "is_disputed"),
    [
        (LIST_USD, False),
        (LIST_USD * 2, False),
        (LIST_USD * 2 + Decimal("1e-9"), True),
        (LIST_USD / 2, False),
        (LIST_USD / 2 - Decimal("1e-9"), True),
        (LIST_USD * 1000, True),
    ],
)
def test_disputed_is_more_than_a_factor_of_two_either_way(
    desk: Any, gateway_usd: Decimal, is_disputed: bool
) -> None:
    desk.ingest(line(1, SONNET, cost_usd=float(gateway_usd)))
    rows, found = checked(desk, 1 if is_disputed else 0)
    if not is_disputed:
        return
    assert rows[0] == ["disputed model", "provider", "tier", "calls", "tokens", "gateway", "table"]
    assert (rows[1][0], *rows[1][2:5]) == (SONNET, "-", "1", "2,000")
    assert rows[1][6] == "$0.018"
    (entry,) = found["disputed"]
    assert (entry["gateway_nanousd"], entry["table_nanousd"]) == (
        int(gateway_usd * 10**9),
        18_000_000,
    )
    assert found["unpriced"] == []


def test_disputes_are_summed_by_model_provider_and_tier(desk: Any) -> None:
    desk.ingest(
        *(line(n, SONNET, cost_usd=1.5) for n in range(3)),
        line(3, SONNET, cost_usd=0.001),
        line(4, SONNET, cost_usd=0.018),
        line(5, "anthropic/claude-opus-4-1", cost_usd=0.001),
        line(6, "x/y"),
    )
    rows, found = checked(desk, 1)
    assert [row[0] for row in rows] == [
        *("unpriced model", "x/y", "disputed model"),
        *(SONNET, "anthropic/claude-opus-4-1"),
    ]
    first = found["disputed"][0]
    assert (first["calls"], first["tokens"]) == (4, 8000)
    assert (first["gateway_nanousd"], first["table_nanousd"]) == (4_501_000_000, 72_000_000)
    assert first["last_call_at"] == "2026-01-01T00:00:03.000000Z"


def test_a_hostile_model_in_the_ledger_cannot_steer_the_terminal(desk: Any) -> None:
    desk.ingest(line(1, "\x1b]0;owned\x07"), line(2, "\x9b31m"))
    done = desk.command("prices", "check")
    assert done.returncode == 1
    assert "owned" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()


def test_without_a_ledger_check_says_so(desk: Any) -> None:
    desk.stop()
    desk.ledger.unlink()
    done = desk.command("prices", "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no ledger" in done.stderr
    desk.restart()
