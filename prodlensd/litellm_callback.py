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
the wrong type or too long is left out. Nothing here ever raises into the proxy.

Reading order: the hooks, the line, who and where, plain values, the file. Kept to Python 3.9, which
LiteLLM may still run on, and free of dataclasses, since LiteLLM executes a copied file without
registering it as a module.
"""
# ruff: noqa: ARG002, D102 (the hooks' names and parameters are LiteLLM's and documented there)

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import threading
import time
from collections import OrderedDict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
        self._log(kwargs, start_time, end_time, "success", in_sync_hook=False)

    async def async_log_failure_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, start_time, end_time, "failure", in_sync_hook=False)

    def log_success_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, start_time, end_time, "success", in_sync_hook=True)

    def log_failure_event(
        self, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> None:
        self._log(kwargs, start_time, end_time, "failure", in_sync_hook=True)

    def _log(
        self,
        kwargs: object,
        start_time: object,
        end_time: object,
        status: str,
        *,
        in_sync_hook: bool,
    ) -> None:
        try:
            event = Event(kwargs, start_time, end_time, status)
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

    def __init__(self, kwargs: object, start_time: object, end_time: object, status: str) -> None:
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
        return known(
            timestamp=f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            id=text(self.payload.get("id")),
            litellm_call_id=self.call_id,
            cost_usd=first(*(number(place.get("response_cost")) for place in self._places)),
            attributes=self._attributes(),
            usage=self._usage(),
            metadata=self._who(),
        )

    @property
    def _places(self) -> tuple[dict[str, Any], ...]:
        """Where facts of the call stand, the better place first."""
        return (self.payload, self.kwargs)

    def _text(self, key: str, places: tuple[dict[str, Any], ...] = ()) -> str | None:
        return first(*(text(place.get(key)) for place in places or self._places))

    def _attributes(self) -> dict[str, Any]:
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
            service_tier=self._service_tier(),
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

    def _service_tier(self) -> str | None:
        """The tier that the provider served, else the one priced, else the one asked for."""
        places = (
            self.payload.get("response"),
            self.metadata.get("usage_object"),
            self.payload.get("cost_breakdown"),
            self.payload.get("model_parameters"),
        )
        return first(*(word(mapping(place).get("service_tier")) for place in places))

    def _attempted(self, what: str) -> int | None:
        headers = mapping(self.hidden.get("additional_headers"))
        counts = (claims.get(f"attempted_{what}") for claims in self.claims[1:])
        return first(integer(headers.get(f"x-litellm-attempted-{what}")), *map(integer, counts))

    def _usage(self) -> dict[str, Any]:
        """Token counts. Zeros of a failure, or without detail, are LiteLLM's way of not knowing."""
        for usage_object in (self.metadata.get("usage_object"), self.hidden.get("usage_object")):
            usage = picked(usage_object, USAGE)
            if usage and (self.status == "success" or any(map(integer, usage.values()))):
                return usage
        totals = picked(self.payload, TOTALS)
        return totals if any(totals.values()) else {}

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


# Plain values -------------------------------------------------------------------------------------

CACHE_WRITES: Final = {"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": None}
INPUT_DETAILS: Final = {
    "cached_tokens": None,
    "cache_creation_tokens": None,
    "cache_creation_token_details": CACHE_WRITES,
    "audio_tokens": None,
}
OUTPUT_DETAILS: Final = {"reasoning_tokens": None, "audio_tokens": None}
TOTALS: Final = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
#: The counts a line may carry, in the shapes of OpenAI's chat and responses and of Anthropic.
USAGE: Final = {
    **TOTALS,
    "prompt_tokens_details": INPUT_DETAILS,
    "completion_tokens_details": OUTPUT_DETAILS,
    "input_tokens": None,
    "output_tokens": None,
    "input_tokens_details": INPUT_DETAILS,
    "output_tokens_details": OUTPUT_DETAILS,
    "cache_read_input_tokens": None,
    "cache_creation_input_tokens": None,
    "cache_creation": CACHE_WRITES,
}


def picked(source: object, wanted: dict[str, Any]) -> dict[str, Any]:
    """The numbers of `source` that `wanted` names, nested as it is nested."""
    source = mapping(source)
    return known(
        **{
            name: picked(source.get(name), inner) or None if inner else number(source.get(name))
            for name, inner in wanted.items()
        }
    )


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
    file = os.open(path, flags, 0o600)
    try:
        size = os.fstat(file).st_size
        is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        record = (b"\n" if is_torn else b"") + line.encode("ascii") + b"\n"
        if os.write(file, record) < len(record):
            raise OSError(errno.ENOSPC, "only a part of the line fitted on the disk")
    finally:
        os.close(file)


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
