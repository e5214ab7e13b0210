"""A month of calls that nobody made: a team behind one proxy, as the callback would have logged it.

The same calls every time; only their days move, so that the last of them is today.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

_DAYS: Final = 30
#: Of any 30 days at least so many are of a weekend: then few people work.
_QUIET_DAYS: Final = 8
_FAILED_SHARE: Final = 0.03
_SATURDAY: Final = 5


class _Model(NamedTuple):
    """A model as LiteLLM names it, and what a million tokens cost there, in dollars.

    `write_usd` 0: what is written to the cache costs nothing more.
    """

    name: str
    input_usd: float
    output_usd: float
    read_usd: float
    write_usd: float = 0.0


class _Person(NamedTuple):
    """Somebody of the team: sessions a day, and how often each of _MODELS is asked."""

    name: str
    team: str
    repos: tuple[str, ...]
    sessions: int
    shares: tuple[int, ...]


_MODELS: Final = (
    _Model("anthropic/claude-sonnet-4-5", 3.0, 15.0, 0.3, 3.75),
    _Model("anthropic/claude-opus-4-5", 5.0, 25.0, 0.5, 6.25),
    _Model("anthropic/claude-haiku-4-5", 1.0, 5.0, 0.1, 1.25),
    _Model("openai/gpt-5-mini", 0.25, 2.0, 0.025),
    _Model("azure/our-deployment", 0.0, 0.0, 0.0),  # LiteLLM says 0.0 where it knows no price
)
_PEOPLE: Final = (
    _Person("ana@example.com", "web", ("acme/shop", "acme/design"), 3, (60, 25, 10, 5, 0)),
    _Person("ben@example.com", "web", ("acme/shop",), 2, (80, 0, 15, 5, 0)),
    _Person("chloé@example.com", "core", ("acme/billing", "acme/shop"), 3, (45, 45, 5, 5, 0)),
    _Person("dmitri@example.com", "core", ("acme/billing",), 2, (30, 0, 20, 45, 5)),
    _Person("eve@example.com", "data", ("acme/forecast", "acme/docs"), 1, (40, 10, 20, 15, 15)),
    _Person("ci-bot@example.com", "core", ("acme/billing", "acme/docs"), 2, (0, 0, 100, 0, 0)),
)


def month(now: datetime) -> dict[str, list[str]]:
    """The lines of each log file, by its name; all calls are over by `now`, by whose clock they go.

    Files and lines are in the order of time.
    """
    lines: dict[str, list[str]] = {}
    for day, number in _days(now.date()):
        start = datetime.combine(day, time(), tzinfo=now.tzinfo)
        end = min(now, start + timedelta(days=1))
        called = sorted(_day(number), key=lambda call: call[0])
        # What a whole day has, today has had by now.
        scale = (end - start) / timedelta(days=1)
        for second, call in called:
            at = (start + timedelta(seconds=second * scale)).astimezone(UTC)
            line = json.dumps({"timestamp": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"} | call)
            lines.setdefault(f"litellm-traces-{at:%Y-%m-%d}.jsonl", []).append(line)
    return dict(sorted(lines.items()))


def _days(today: date) -> Iterator[tuple[date, int]]:
    """The days, and which of the made-up ones each is: the first _QUIET_DAYS go to weekends."""
    days = [today - timedelta(days=back) for back in range(_DAYS)]
    weekend = [day for day in days if day.weekday() >= _SATURDAY][:_QUIET_DAYS]
    others = [day for day in days if day not in weekend]
    yield from sorted(zip([*weekend, *others], range(_DAYS), strict=True))


def _day(number: int) -> Iterator[tuple[float, dict[str, Any]]]:
    """The calls of one made-up day: when each begins, in seconds of the day, and what is logged."""
    chance = random.Random(number)  # noqa: S311 - made up, and repeatable
    for who, person in enumerate(_PEOPLE):
        for session in range(person.sessions):
            if number < _QUIET_DAYS and chance.random() < 0.85:  # noqa: PLR2004 - few work
                continue
            name = f"{person.name.partition('@')[0]}-{number:02}-{session}"
            second = 3600 * chance.uniform(8.5, 17) + 60 * who
            yield from _session(chance, person, name, second)


def _session(
    chance: random.Random, person: _Person, name: str, second: float
) -> Iterator[tuple[float, dict[str, Any]]]:
    """The calls of one session: each has what was said before in it, mostly from the cache."""
    (model,) = chance.choices(_MODELS, person.shares)
    who = {
        "session_id": name,
        "developer_id": person.name,
        "developer_via": "key_user",
        "team": person.team,
        "repo": chance.choice(person.repos),
    }
    known = 0
    context = chance.randrange(6_000, 22_000)
    for turn in range(chance.randrange(3, 16)):
        is_cold = chance.random() < 0.06  # noqa: PLR2004 - the cache forgets after some minutes
        cached, output = (0 if is_cold else known), chance.randrange(60, 1_800)
        failed = chance.random() < _FAILED_SHARE
        for attempt in range(1 + failed):
            latency_ms = 600 + 11 * output + chance.randrange(900)
            tokens = None if failed and attempt == 0 else (context, cached, output)
            ids = {"id": f"resp-{name}-{turn}-{attempt}", "litellm_call_id": f"{name}-{turn}"}
            yield second, ids | _call(model, tokens, latency_ms) | {"metadata": who}
            second += latency_ms / 1000 + chance.uniform(2, 90)
        known = context
        context = min(context + output + chance.randrange(400, 6_000), 180_000)


def _call(model: _Model, tokens: tuple[int, int, int] | None, latency_ms: int) -> dict[str, Any]:
    """What is logged of a call; `tokens` are all input, cached, output, or None: it failed."""
    attributes: dict[str, Any] = {
        "llm.model_name": model.name,
        "provider": model.name.partition("/")[0],
        "stream": True,
    }
    if tokens is None:
        failure = {"status": "failure", "status_code": 429, "error_class": "RateLimitError"}
        failure |= {"latency_ms": 240.0}
        return {"cost_usd": 0.0, "attributes": attributes | failure, "usage": {}}
    tokens_in, cached, tokens_out = tokens
    usage: dict[str, Any] = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    fresh, written = tokens_in - cached, 0
    if model.write_usd:
        fresh, written = 0, fresh
        usage["cache_creation_input_tokens"] = written
        usage["cache_read_input_tokens"] = cached
    usd = fresh * model.input_usd + cached * model.read_usd + tokens_out * model.output_usd
    usd += written * model.write_usd
    success = {"status": "success", "status_code": 200, "latency_ms": float(latency_ms)}
    ttft = {"ttft_ms": float(300 + latency_ms % 900)}
    return {
        "cost_usd": round(usd / 1e6, 9),
        "attributes": attributes | success | ttft,
        "usage": usage,
    }
