"""LiteLLM custom logger: one JSON line for each call, without prompts and answers.

It runs inside LiteLLM's process, needs LiteLLM and the standard library only and imports nothing
of prodlensd, so this file may as well be copied beside the proxy's config. In `litellm_settings`:

    callbacks: ["prodlensd.litellm_callback.trace_logger"]  # prodlensd installed beside LiteLLM
    callbacks: ["prodlensd_callback.trace_logger"]          # copied as prodlensd_callback.py

Lines go to `$LITELLM_LOG_DIR/litellm-traces-YYYY-MM-DD.jsonl` (the UTC day of writing); without
that variable to `$PRODLENSD_HOME/logs`, else to `~/.local/share/prodlensd/logs`: where the daemon
looks.

A line is picked field by field from what LiteLLM hands over, each value checked for type and
length: prompts, answers, tools, error texts, headers and keys have no way in. What is unknown, of
the wrong type or too long is left out. Only the usage object is copied whole, under the names it
has, since a price may depend on any of it; but of that too nothing but numbers, flags and short
words. Nothing here ever raises into the proxy.

Reading order: the hooks, the line, who and where, usage, plain values, the file. Kept to Python
3.9, which LiteLLM may still run on, and free of dataclasses, since LiteLLM executes a copied file
without registering it as a module.
"""
# ruff: noqa: D102 (the hooks' names and parameters are LiteLLM's and documented there)

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    CustomLogger = object
else:
    try:
        from litellm.integrations.custom_logger import CustomLogger
    except ImportError:  # our own tools read this module where LiteLLM is not installed
        CustomLogger = object

MAX_TEXT: Final = 512  # characters of any string; response ids reach about 420
MAX_TAGS: Final = 32
REMEMBERED: Final = 8192  # reports; the twins of one event arrive within milliseconds
WARN_EVERY_S: Final = 60.0
YEAR_3000_S: Final = 32_503_680_000

UTC: Final = timezone.utc  # noqa: UP017 (datetime.UTC came with Python 3.11)
T = TypeVar("T")
log = logging.getLogger("prodlensd.litellm_callback")


class TraceLogger(CustomLogger):
    """Writes each event LiteLLM reports as one line, before the hook returns: no queue, no thread.

    LiteLLM calls the hooks by keyword, so the names of their parameters are part of the interface.
    """

    def __init__(self) -> None:
        super().__init__()
        # The mutable state: what was written of late, and what was lost since the last warning.
        self._written: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._lost = 0
        self._warned_at = -math.inf
        self._lock = threading.Lock()

    async def async_log_success_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, response_obj, (start_time, end_time), "success", in_sync_hook=False)

    async def async_log_failure_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, response_obj, (start_time, end_time), "failure", in_sync_hook=False)

    def log_success_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, response_obj, (start_time, end_time), "success", in_sync_hook=True)

    def log_failure_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, response_obj, (start_time, end_time), "failure", in_sync_hook=True)

    def _log(
        self,
        kwargs: object,
        answer: object,
        times: tuple[object, object],
        status: str,
        *,
        in_sync_hook: bool,
    ) -> None:
        try:
            event = Event(kwargs, *times, status, answer)
            if self._is_first_report(event, in_sync_hook=in_sync_hook):
                append_line(log_folder(), json.dumps(event.line(), allow_nan=False))
        except Exception as error:  # noqa: BLE001 (whatever it is, the user's request goes on)
            self._warn(error)

    def _is_first_report(self, event: Event, *, in_sync_hook: bool) -> bool:
        """Whether this report of the event is the one to be written.

        Twins: some events reach the async and the sync hook, and which comes first is chance
        (images and rejected requests; with versions of 2025 every native /v1/messages and
        /v1/responses call, under two response ids). They share call id, outcome and start.

        Echoes: with those versions a /v1/responses call that a chat model answers is reported as
        the chat call it became, rightly priced, and again as an outer call that knows no provider.
        Among the async reports the inner one comes first; a sync echo may overtake it.
        """
        if event.call_id is None:
            return True
        is_echo = (
            event.call_type in ("responses", "aresponses")
            and event.status == "success"
            and not event.payload.get("custom_llm_provider")
        )
        if is_echo and in_sync_hook and event.is_proxied:
            return False  # the proxy always makes the async report as well
        attempt = (event.call_id, event.status, event.started)
        answer = (event.call_id, event.status)
        with self._lock:
            if (answer if is_echo else attempt) in self._written:
                return False
            self._written[attempt] = self._written[answer] = None
            while len(self._written) > REMEMBERED:
                self._written.popitem(last=False)
        return True

    def _warn(self, error: Exception) -> None:
        """Logs that lines are lost, at most once a minute, quoting nothing from them."""
        with self._lock:
            self._lost += 1
            now = time.monotonic()
            if now - self._warned_at < WARN_EVERY_S:
                return
            lost, self._lost, self._warned_at = self._lost, 0, now
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        log.warning("prodlensd: %d trace line(s) not written: %s", lost, reason)


class Event:
    """One report of LiteLLM's. Any key may be missing and any value may be of any type."""

    def __init__(
        self,
        kwargs: object,
        start_time: object,
        end_time: object,
        status: str,
        answer: object = None,
    ) -> None:
        self.answer = answer
        self.kwargs = mapping(kwargs)
        self.payload = mapping(self.kwargs.get("standard_logging_object"))
        self.metadata = mapping(self.payload.get("metadata"))
        self.hidden = mapping(self.payload.get("hidden_params"))
        self.params = mapping(self.kwargs.get("litellm_params"))
        self.request = mapping(self.params.get("proxy_server_request"))
        self.body = mapping(self.request.get("body"))
        self.headers = {
            name.lower(): value
            for place in (
                self.metadata.get("requester_custom_headers"),
                self.request.get("headers"),
            )
            for name, value in mapping(place).items()
            if isinstance(name, str) and isinstance(value, str)
        }
        # The `metadata` of the request's body is kept in one of these, by endpoint and version. The
        # last two also hold what is LiteLLM's own, all headers among it: single look-ups only.
        self.claims = [
            mapping(self.metadata.get("requester_metadata")),
            mapping(self.params.get("litellm_metadata")),
            mapping(self.params.get("metadata")),
        ]
        self.status = status
        self.call_id = self._text("litellm_call_id", places=(self.kwargs, self.payload))
        self.call_type = self._text("call_type")
        # Not the payload's startTime, which for a streamed /v1/messages is the moment of the first
        # byte: the whole wait for the model would be missing from the latency (so on 1.106.2).
        self.started = first(
            seconds(self.kwargs.get("start_time")),
            seconds(start_time),
            seconds(self.payload.get("startTime")),
        )
        self.ended = first(seconds(end_time), seconds(self.payload.get("endTime")))

    @property
    def is_proxied(self) -> bool:
        return bool(self.request or self.metadata.get("user_api_key_request_route"))

    def line(self) -> dict[str, Any]:
        """The trace line, as prodlensd documents it."""
        started = time.time() if self.started is None else self.started
        usage = self._usage_as_given()
        return known(
            timestamp=f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            id=text(self.payload.get("id")),
            litellm_call_id=self.call_id,
            cost_usd=first(*(number(place.get("response_cost")) for place in self._places)),
            attributes=self._attributes(usage),
            usage=self._usage(usage),
            metadata=self._who(),
        )

    @property
    def _places(self) -> tuple[dict[str, Any], ...]:
        """Where facts of the call stand, the better place first."""
        return (self.payload, self.kwargs)

    def _text(self, key: str, places: tuple[dict[str, Any], ...] = ()) -> str | None:
        return first(*(text(place.get(key)) for place in places or self._places))

    def _attributes(self, usage: dict[Any, Any]) -> dict[str, Any]:
        error = mapping(self.payload.get("error_information"))
        return known(
            **{"llm.model_name": self._text("model")},
            provider=self._text("custom_llm_provider"),
            call_type=self.call_type,
            status=self.status,
            status_code=self._status_code(error),
            latency_ms=milliseconds(self.started, self.ended),
            ttft_ms=self._ttft_ms(),
            stream=self._is_stream(),
            cache_hit=self.payload.get("cache_hit") is True,
            error_class=word(error.get("error_class")),
            service_tier=self._service_tier(usage),
            speed=None if word(usage.get("speed")) else self._speed_asked_for(),
            region=self._region(),
            model_group=text(self.payload.get("model_group")),
            attempted_retries=self._attempted("retries"),
            attempted_fallbacks=self._attempted("fallbacks"),
        )

    def _status_code(self, error: dict[str, Any]) -> int | None:
        """The HTTP status; 499 beside a success is a client that went away in mid-stream."""
        code = http_status(error.get("error_code"))
        if self.status == "success":
            return code or 200
        exception = self.kwargs.get("exception")  # where versions of 2025 keep a reject's status
        attributes = (getattr(exception, name, None) for name in ("status_code", "code"))
        return first(code, *(http_status(attribute) for attribute in attributes))

    def _ttft_ms(self) -> float | None:
        """The wait for a stream's first token.

        Where LiteLLM did not measure it (no stream; native streams with versions of 2025), its
        start of the answer is the end.
        """
        began = first(
            seconds(self.kwargs.get("completion_start_time")),
            seconds(self.payload.get("completionStartTime")),
        )
        is_measured = began is not None and self.ended is not None and began < self.ended
        return milliseconds(self.started, began) if is_measured and self._is_stream() else None

    def _is_stream(self) -> bool | None:
        """LiteLLM gives True or nothing, and nothing for a failed stream: ask the request then."""
        if self.payload.get("stream") is True or self.body.get("stream") is True:
            return True
        return False if self.status == "success" or self.body else None

    def _service_tier(self, usage: dict[Any, Any]) -> str | None:
        """The tier that the provider served, else the one priced, else the one asked for."""
        places = (
            self.payload.get("response"),
            usage,
            self.payload.get("cost_breakdown"),
            self.payload.get("model_parameters"),
        )
        return first(*(word(mapping(place).get("service_tier")) for place in places))

    def _speed_asked_for(self) -> str | None:
        """Anthropic's fast mode is a word; the speed of a voice is a number."""
        asked = (self.payload.get("model_parameters"), self.kwargs.get("optional_params"))
        return first(*(word(mapping(place).get("speed")) for place in (*asked, self.body)))

    def _region(self) -> str | None:
        """Where the model runs, as it was asked for, else by the host that was called."""
        names = ("aws_region_name", "vertex_location", "vertex_ai_location", "region_name")
        asked = mapping(self.kwargs.get("optional_params"))
        priced = mapping(self.payload.get("cost_breakdown"))
        called = (mapping(self.kwargs.get("additional_args")), self.payload, self.params)
        return first(
            *(word(place.get(name)) for place in (self.params, asked, priced) for name in names),
            *(region_of_address(place.get("api_base")) for place in (*called, self.hidden)),
        )

    def _attempted(self, what: str) -> int | None:
        headers = mapping(self.hidden.get("additional_headers"))
        counts = (claims.get(f"attempted_{what}") for claims in self.claims[1:])
        return first(integer(headers.get(f"x-litellm-attempted-{what}")), *map(integer, counts))

    def _usage(self, given: dict[Any, Any]) -> dict[str, Any]:
        """The usage object. Zeros of a failure, or without detail, mean that LiteLLM knows none."""
        usage = UsageCopy().of_object(given, depth=1)
        if usage and (self.status == "success" or any(map(counts_something, usage.values()))):
            return usage
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        totals = known(**{name: number(self.payload.get(name)) for name in names})
        return totals if any(totals.values()) else {}

    def _usage_as_given(self) -> dict[Any, Any]:
        """LiteLLM's usage object, with what only the answer's own says beside the tokens.

        LiteLLM spells the counts its own way, and loses some of the rest, by version and kind of
        call. Counts come from one place only, since two spellings of one are not two counts.
        """
        logged = [place.get("usage_object") for place in (self.metadata, self.hidden)]
        answers = (self.answer, self.payload.get("response"))
        hidden = mapping(getattr(self.answer, "_hidden_params", None))
        moved = mapping(hidden.get("provider_specific_fields"))
        places = [
            *logged,
            *(entries(answer).get("usage") for answer in answers),
            *(entries(answer).get("usageMetadata") for answer in answers),  # Gemini's own
            {"trafficType": moved.get("traffic_type")},  # and where LiteLLM puts a part of it
        ]
        usage: dict[Any, Any] = {}
        for place in places:
            has_counts = bool(usage)
            for name, value in entries(place).items():
                if usage.get(name) is None and not (has_counts and names_tokens(name)):
                    usage[name] = value
        is_odd = any(not is_nothing(value) and not is_object(value) for value in logged)
        return {**usage, "more": True} if is_odd else usage

    def _who(self) -> dict[str, Any]:
        session, session_via = self._session()
        developer, developer_via = self._developer()
        key = self.metadata
        return known(
            session_id=session,
            session_via=session_via,
            developer_id=developer,
            developer_via=developer_via,
            repo=self._repo(),
            end_user=first(
                text(self.payload.get("end_user")), text(key.get("user_api_key_end_user_id"))
            ),
            team=first(
                text(key.get("user_api_key_team_alias")), text(key.get("user_api_key_team_id"))
            ),
            key_alias=text(key.get("user_api_key_alias")),
            key_hash=sha256(key.get("user_api_key_hash")),
            tags=self._tags() or None,
        )

    def _session(self) -> tuple[str | None, str | None]:
        """The session and where it was found, surest place first.

        The trace id comes last: LiteLLM draws a random one for a call that belongs to no session.
        """
        user_ids = [claims.get("user_id") for claims in self.claims]
        user_ids += [self.payload.get("end_user"), self.metadata.get("user_api_key_end_user_id")]
        bodies = (self.params, self.body)
        found = (
            ("gateway", text(self.payload.get("session_id"))),
            ("header", session_of_headers(self.headers)),
            (
                "metadata",
                first(*(name_or_number(claims.get("session_id")) for claims in self.claims)),
            ),
            ("user_id", first(*map(session_of_user_id, user_ids))),
            ("body", self._text("litellm_session_id", bodies)),
            ("body", text(self.body.get("litellm_trace_id"))),
            ("trace_id", text(self.payload.get("trace_id"))),
        )
        return next(((session, via) for via, session in found if session), (None, None))

    def _developer(self) -> tuple[str | None, str | None]:
        """The developer, and whether the proxy vouches for the name or the client just claims it.

        With `user_header_mappings` LiteLLM takes the user of the key from a request header. A name
        that the request's headers hold is a claim, wherever LiteLLM shows it.
        """
        for via, key in (
            ("key_user", "user_api_key_user_id"),
            ("key_email", "user_api_key_user_email"),
        ):
            name = name_or_number(self.metadata.get(key))
            if name and name != "default_user_id":  # the name of all users of the master key
                is_claim = name.strip() in map(str.strip, self.headers.values())
                return name, "header" if is_claim else via
        name = first(*(name_or_number(claims.get("developer_id")) for claims in self.claims))
        if name:
            return name, "metadata"
        name = text(self.headers.get("x-prodlens-developer"))
        return (name, "header") if name else (None, None)

    def _repo(self) -> str | None:
        """The repository as it was sent, less any password; the daemon makes a slug of it."""
        names = ("repo", "repository", "repo_slug")
        spend_logs = mapping(self.metadata.get("spend_logs_metadata"))
        key = mapping(self.metadata.get("user_api_key_auth_metadata"))
        tags = [tag[len("repo:") :] for tag in self._tags() if tag.startswith("repo:")]
        repo = first(
            *(text(claims.get(name)) for claims in self.claims for name in names),
            text(self.headers.get("x-prodlens-repo")),
            *(text(spend_logs.get(name)) for name in names),
            *map(text, tags),
            *(text(key.get(name)) for name in names),
        )
        return repo and without_password(repo)

    def _tags(self) -> list[str]:
        """The client's own tags, without those LiteLLM makes of the user agent."""
        tags = self.payload.get("request_tags")
        texts = map(text, tags if isinstance(tags, list) else [])
        own = [tag for tag in texts if tag and not tag.startswith("User-Agent:")]
        return [without_password(tag) for tag in own[:MAX_TAGS]]


# Who and where ------------------------------------------------------------------------------------

VENDOR_SESSION_HEADER: Final = re.compile(r"x-.+-session-id")  # such as x-claude-code-session-id
VENDOR_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{8,}")
CODEX_SESSION_HEADERS: Final = ("session-id", "session_id", "thread-id", "conversation_id")
URL_USER: Final = re.compile(r"(?<=://)[^/\s]*@")
CLAUDE_CODE_USER_ID: Final = re.compile(r"_session_([A-Za-z0-9_-]+)\Z")


def session_of_headers(headers: dict[str, str]) -> str | None:
    """The session named by request headers, in the order in which LiteLLM looks at them."""
    vendors = [
        value
        for name, value in headers.items()
        if VENDOR_SESSION_HEADER.fullmatch(name) and VENDOR_SESSION.fullmatch(value)
    ]
    is_codex = "codex" in headers.get("user-agent", "").lower()
    return first(
        text(headers.get("x-litellm-trace-id")),
        text(headers.get("x-litellm-session-id")),
        *map(text, vendors),
        *(text(headers.get(name)) for name in CODEX_SESSION_HEADERS if is_codex),
        text(headers.get("x-session-id")),
    )


def session_of_user_id(user_id: object) -> str | None:
    """The session in Claude Code's user id: `user_…_session_ID`, or JSON, as text or an object."""
    if isinstance(user_id, str) and len(user_id) <= 2 * MAX_TEXT:
        suffix = CLAUDE_CODE_USER_ID.search(user_id)
        if suffix:
            return text(suffix.group(1))
        if user_id.lstrip().startswith("{"):
            try:
                user_id = json.loads(user_id)
            except (ValueError, RecursionError):
                return None
    return name_or_number(mapping(user_id).get("session_id"))


def without_password(address: str) -> str:
    """An address without its `user:password@`: git remotes are known to carry access tokens."""
    return URL_USER.sub("", address)


# Where the model runs -----------------------------------------------------------------------------

HOSTS_WITH_REGION: Final = (
    re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]{1,64})\.amazonaws\.com"),
    re.compile(r"([a-z0-9-]{1,64})-aiplatform\.googleapis\.com"),
    re.compile(r"aiplatform\.([a-z]{2})\.rep\.googleapis\.com"),
    re.compile(r"([a-z]{2}|gov)\.api\.openai\.com"),
)


def region_of_address(address: object) -> str | None:
    """The region in the host of the address of an API. The rest of it may hold secrets."""
    if not isinstance(address, str) or len(address) > 4 * MAX_TEXT:
        return None
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:  # such as half an IPv6 address
        return None
    if host == "aiplatform.googleapis.com":
        return "global"
    found = (pattern.fullmatch(host) for pattern in HOSTS_WITH_REGION)
    return next((match.group(1) for match in found if match), None)


# Usage --------------------------------------------------------------------------------------------

USAGE_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MAX_ENTRIES: Final = 64  # of one object
MAX_ITEMS: Final = 32  # of one list
MAX_DEPTH: Final = 5  # the usage object is the first
MAX_VALUES: Final = 512  # after which nothing more is entered: an object may hold itself


class UsageCopy:
    """What may be written of a usage object: its numbers, flags and short words, nested as it is.

    No prompt gets in: what has a space, or is long, is none of those. But whoever prices the call
    must see that something was there, so `true` stands for a value that cannot be written, and
    `"more": true` for entries whose names cannot. None, and what is empty, is nothing.
    """

    def __init__(self) -> None:
        self._room = MAX_VALUES

    def of_object(self, source: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        there = [(name, value) for name, value in source.items() if not is_nothing(value)]
        some = there if len(there) <= MAX_ENTRIES else there[: MAX_ENTRIES - 1]
        copies = {name: self._of(value, depth) for name, value in some if is_word(name)}
        copy = {name: value for name, value in copies.items() if value is not None}
        return copy if len(copies) == len(there) else {**copy, "more": True}

    def _of(self, value: object, depth: int) -> object:
        """The copy of a value in an object or a list of this depth; None if it holds nothing."""
        self._room -= 1
        if isinstance(value, (str, int, float)):
            return flag_number_or_word(value)
        if depth < MAX_DEPTH and self._room > 0:
            if isinstance(value, (list, tuple)):
                return self._of_list(value, depth + 1)
            if is_object(value):
                return self.of_object(entries(value), depth + 1) or None
        return True

    def _of_list(self, source: list[Any] | tuple[Any, ...], depth: int) -> object:
        there = [value for value in source if not is_nothing(value)]
        if len(there) > MAX_ITEMS:
            return True
        copies = (self._of(value, depth) for value in there)
        return [copy for copy in copies if copy is not None] or None


def flag_number_or_word(value: str | float) -> str | float:
    """The value if it may be written, else True."""
    if isinstance(value, str):
        return str.__str__(value) if is_word(value) else True
    copy = value if isinstance(value, bool) else number(value)
    return True if copy is None else copy


def is_word(value: object) -> bool:
    """Whether this is a short word: a name in a usage object, a tier, a kind of token."""
    return isinstance(value, str) and USAGE_WORD.fullmatch(value) is not None


def is_object(value: object) -> bool:
    """Whether the value has entries: it is a dict, or an object of pydantic's."""
    return isinstance(value, Mapping) or hasattr(type(value), "model_fields")


def entries(value: object) -> Mapping[Any, Any]:
    """What a dict or an object of pydantic's holds by name; nothing for anything else."""
    if isinstance(value, Mapping):
        return value
    if is_object(value):
        return {**vars(value), **mapping(getattr(value, "__pydantic_extra__", None))}
    return {}


def is_nothing(value: object) -> bool:
    """None, or empty: no text, no items, no entries."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (list, tuple, Mapping)) and not value)


def names_tokens(name: object) -> bool:
    """Whether this is the name of a count of tokens, or of its parts."""
    return isinstance(name, str) and "token" in name.lower()


def counts_something(value: object) -> bool:
    """Whether this value in a usage object is a count above 0, or stands for what may be one."""
    return value is True or bool(number(value))


# Plain values -------------------------------------------------------------------------------------


def known(**values: object) -> dict[str, Any]:
    """The values that are not None, by name."""
    return {name: value for name, value in values.items() if value is not None}


def first(*values: T | None) -> T | None:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def mapping(value: object) -> dict[Any, Any]:
    """The value if it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """A string that is neither blank nor too long.

    Half a surrogate pair, which strict JSON readers refuse, becomes a question mark.
    """
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.strip():
        return None
    return str.encode(value, "utf-8", "replace").decode("utf-8")


def word(value: object) -> str | None:
    """A string that cannot be a sentence, such as the name of an error class or a service tier."""
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.-]{0,99}", value, re.ASCII)
    return text(value) if is_word else None


def sha256(value: object) -> str | None:
    """The hash of a key. A key that LiteLLM did not hash does not look like one."""
    is_hash = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
    return text(value) if is_hash else None


def name_or_number(value: object) -> str | None:
    """An id chosen by a client, which may be a number."""
    count = integer(value)
    return text(value) if count is None else str(count)


def integer(value: object) -> int | None:
    """A whole number that fits into 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    return None


def number(value: object) -> float | None:
    """A number that JSON can express and 64 bits can hold: no NaN, no infinity."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return integer(value)


def http_status(value: object) -> int | None:
    """A status such as 429, which LiteLLM mostly spells "429"."""
    code = str(value) if isinstance(value, (int, str)) else ""
    return int(code) if re.fullmatch(r"[1-5][0-9][0-9]", code) else None


def seconds(value: object) -> float | None:
    """Seconds since 1970 of a number or a datetime (LiteLLM's have no zone and are local time)."""
    try:
        moment = value.timestamp() if isinstance(value, datetime) else number(value)
    except (OSError, OverflowError, ValueError):  # too far away for the C library
        return None
    return moment if moment is not None and 0 < moment < YEAR_3000_S else None


def milliseconds(start: float | None, end: float | None) -> float | None:
    """The time between two moments given in seconds; None if it is unknown or negative."""
    return None if start is None or end is None or end < start else round((end - start) * 1e3, 3)


# The file -----------------------------------------------------------------------------------------


def log_folder() -> Path:
    """Where the lines go; asked anew for each, so that nothing is decided when the module loads."""
    folder = os.environ.get("LITELLM_LOG_DIR")
    home = os.environ.get("PRODLENSD_HOME") or "~/.local/share/prodlensd"
    return Path(folder or Path(home) / "logs").expanduser()


def append_line(folder: Path, line: str) -> None:
    """Appends the line to the file of the day, in one write, which the kernel does not interleave.

    The file is opened for each line, so that rotating it needs no signal. Where a write
    was cut short (a full disk), a newline goes first: readers then meet one bad line and not two.
    Raises OSError if the line, or the end of it, could not be written.
    """
    path = folder / f"litellm-traces-{datetime.now(UTC):%Y-%m-%d}.jsonl"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    make_folder(folder)
    file = os.open(path, flags, file_mode(folder))
    try:
        size = os.fstat(file).st_size
        is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        record = (b"\n" if is_torn else b"") + line.encode("ascii") + b"\n"
        if os.write(file, record) < len(record):
            raise OSError(errno.ENOSPC, "only a part of the line fitted on the disk")
    finally:
        os.close(file)


def file_mode(folder: Path) -> int:
    """The owner's only, but in a folder that its group may read and that hands this group on.

    Such a folder (set-group-ID, as in 2770) was made by somebody for a reader of another user.
    """
    shared = stat.S_ISGID | stat.S_IRGRP
    return 0o640 if folder.stat().st_mode & shared == shared else 0o600


def make_folder(folder: Path) -> None:
    """As mkdir -p, but each new folder is its owner's only; `parents` leaves that to the umask."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


trace_logger = TraceLogger()
