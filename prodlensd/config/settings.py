"""The tables and keys that a configuration file may have.

To add a key: one field below (type, limits, default) and one line in config.example.toml. The
comment on that line is the key's meaning, for `prodlensd init` and for every error about the key.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]
Limit = Annotated[float, Meta(gt=0, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 62)]
Duration = Annotated[float, Meta(ge=0, le=31_536_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
# The comment that opens a pattern stands in an error in place of the pattern.
Text = Annotated[str, Meta(pattern=r"(?#a text that is not empty)\A[^\0]+\Z")]
FileName = Annotated[str, Meta(pattern=r"(?#a file name, which has no '/')\A[^/\0]+\Z")]
FileNames = Annotated[tuple[FileName, ...], Meta(min_length=1)]
# A host becomes a file name; readers of Parquet folders skip names that begin with a dot or `_`.
_HOST = r"(?#a letter or digit, then also any of . _ -)\A([A-Za-z0-9][A-Za-z0-9._-]{0,199})?\Z"
_NAME = r"(?#one line without space around it)\A(?!\s)[^\x00-\x1f\x7f]{0,200}(?<!\s)\Z"
_LISTEN = r"(?#host:port)\A(([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})?\Z"
_WEB = r"(?#an http:// or https:// address)\A(https?://[^\s/]\S*)?\Z"
# Before an @ only `anonymous`, with which pyarrow looks for no credentials.
_PUBLISH = (
    r"(?#a file://, s3:// or gs:// address, with no name or password in it)"
    r"\A(file:///[^\0?#]*|(s3|gs)://(anonymous@)?[^\0@/?]+([/?][^\0@]*)?)?\Z"
)


#: What may follow the ? of such an address. Not all that pyarrow knows: with allow_delayed_open
#: an upload that fails can leave an empty file.
_PUBLISH_OPTIONS = {
    "s3": ("region", "endpoint_override", "scheme", "tls_ca_file_path", "tls_verify_certificates"),
    "gs": ("endpoint_override", "scheme", "project_id", "retry_limit_seconds"),
}


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. What its `__post_init__` raises begins with the field's name."""


class Logs(_Table, frozen=True, kw_only=True):
    directories: Annotated[tuple[Path, ...], Meta(min_length=1)]
    recursive: bool = False
    include: FileNames = (
        *("*.jsonl", "*.jsonl.*", "*.jsonl-*"),  # as logrotate numbers and dates them
        *("*.json.log", "*.json.log.*", "*.json.log-*"),
    )
    rescan_interval_s: Seconds = 5.0
    max_line_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 1 << 24


class Store(_Table, frozen=True, kw_only=True):
    path: Path
    durability: Literal["full", "normal"] = "full"
    batch_max_lines: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000


class Parquet(_Table, frozen=True, kw_only=True):
    enabled: bool = True
    directory: Path
    interval_s: Seconds = 300


class Retention(_Table, frozen=True, kw_only=True):
    store_days: Days = 0
    log_days: Days = 0


class Fallback(_Table, frozen=True, kw_only=True):
    input_usd_per_million: Usd
    output_usd_per_million: Usd


class PriceOverride(_Table, frozen=True, kw_only=True):
    model: Text
    provider: Text | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    input_usd_per_million: Usd
    output_usd_per_million: Usd
    cache_read_usd_per_million: Usd | None = None
    cache_write_usd_per_million: Usd | None = None

    def __post_init__(self) -> None:
        first, end = self.valid_from, self.valid_to
        if first and end and end <= first:
            raise ValueError(f"valid_to: expected a day after valid_from, {first}, found {end}")


class Pricing(_Table, frozen=True, kw_only=True):
    prefer: Literal["gateway", "table"] = "gateway"
    free_providers: tuple[Text, ...] = ("ollama", "lm_studio", "hosted_vllm")
    litellm_prices: Path | None = None
    fallback: Fallback | None = None
    override: tuple[PriceOverride, ...] = ()


class Transcripts(_Table, frozen=True, kw_only=True):
    claude_code: bool | Annotated[tuple[Path, ...], Meta(min_length=1)] = False
    codex: bool | Annotated[tuple[Path, ...], Meta(min_length=1)] = False
    billing: Literal["api", "plan"] = "api"
    developer: Annotated[str, Meta(pattern=_NAME)] = ""


class Publish(_Table, frozen=True, kw_only=True):
    url: Annotated[str, Meta(pattern=_PUBLISH)] = ""

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        known = _PUBLISH_OPTIONS.get(address.scheme, ())
        for name, _ in parse_qsl(address.query, keep_blank_values=True):
            if name not in known:
                raise ValueError(f"url: {name!r} is not an option; there are {', '.join(known)}")
        # A key with one of these is another one, or none, to the store.
        prefix = address.path.strip("/")
        if prefix and {"", ".", ".."} & set(prefix.split("/")):
            raise ValueError("url: expected a prefix without empty parts, '.' and '..'")


class Http(_Table, frozen=True, kw_only=True):
    listen: Annotated[str, Meta(pattern=_LISTEN)] = ""

    def __post_init__(self) -> None:
        if self.address and self.address[1] >= 1 << 16:
            raise ValueError(f"listen: expected a port up to 65535, found {self.address[1]}")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host (an IPv6 one without its brackets) and port to bind; None to serve nothing."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if port else None


class Proxy(_Table, frozen=True, kw_only=True):
    url: Annotated[str, Meta(pattern=_WEB)] = ""

    def __post_init__(self) -> None:
        _check_web("url", self.url)


class Budget(_Table, frozen=True, kw_only=True):
    name: Text
    team: Text | None = None
    developer: Text | None = None
    repo: Text | None = None
    model: Text | None = None
    host: Text | None = None
    daily_usd: Limit | None = None
    weekly_usd: Limit | None = None
    monthly_usd: Limit | None = None
    warn_at: Annotated[float, Meta(gt=0, le=1)] = 0.8

    def __post_init__(self) -> None:
        _, *others = self._given(SCOPES) or [""]
        if others:
            raise ValueError(f"{others[0]}: a budget is of one of {', '.join(SCOPES)}, or of all")
        limits = self._given(LIMITS)
        if len(limits) != 1:
            wrong = limits[1] if limits else "monthly_usd"
            raise ValueError(f"{wrong}: expected exactly one of {', '.join(LIMITS)}")

    @property
    def scope(self) -> str | None:
        """The one of SCOPES that it is of; None: all calls."""
        return next(iter(self._given(SCOPES)), None)

    @property
    def limit(self) -> str:
        """The one of LIMITS that it has."""
        return self._given(LIMITS)[0]

    def _given(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if getattr(self, key) is not None]


#: What a budget may be of, and the period of its limit.
SCOPES: Final = ("team", "developer", "repo", "model", "host")
LIMITS: Final[dict[str, Literal["day", "week", "month"]]] = {
    "daily_usd": "day",
    "weekly_usd": "week",
    "monthly_usd": "month",
}


class Notify(_Table, frozen=True, kw_only=True):
    webhook: Annotated[str, Meta(pattern=_WEB)] = ""

    def __post_init__(self) -> None:
        _check_web("webhook", self.webhook)


def _check_web(key: str, url: str) -> None:
    """Raises ValueError for an address of no host, or of an impossible port."""
    try:
        address = urlsplit(url)
        usable = not url or (bool(address.hostname) and address.port != 0)
    except ValueError:  # from the port, or from brackets that do not match
        usable = False
    if not usable:
        raise ValueError(f"{key}: expected a host, and a port up to 65535 where there is one")


class Status(_Table, frozen=True, kw_only=True):
    heartbeat_critical_s: Seconds = 30
    lag_warning_bytes: Bytes = 64 << 20
    lag_warning_s: Duration = 300
    dead_letters_warning_count: Count = 0
    free_warning_bytes: Bytes = 1 << 30
    free_critical_bytes: Bytes = 64 << 20
    wal_warning_bytes: Bytes = 256 << 20
    snapshot_warning_intervals: Annotated[float, Meta(gt=0, le=1_000_000)] = 3
    publish_warning_s: Duration = 604_800
    unpriced_warning_share: Share = 0.01
    silence_warning_s: Duration = 604_800


class Log(_Table, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Table, frozen=True, kw_only=True):
    """The keys that a file may have."""

    host: Annotated[str, Meta(pattern=_HOST)] = ""
    logs: Logs
    store: Store
    parquet: Parquet
    retention: Retention = Retention()
    pricing: Pricing = Pricing()
    transcripts: Transcripts = Transcripts()
    publish: Publish = Publish()
    http: Http = Http()
    budget: tuple[Budget, ...] = ()
    notify: Notify = Notify()
    proxy: Proxy = Proxy()
    status: Status = Status()
    log: Log = Log()

    def __post_init__(self) -> None:
        for name, is_asked_for in (
            ("retention.store_days", self.retention.store_days > 0),
            ("publish.url", self.publish.url != ""),
        ):
            if is_asked_for and not self.parquet.enabled:
                raise ValueError(f"{name}: needs snapshots, and parquet.enabled is false")
        names = [budget.name for budget in self.budget]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"budget[{number}].name: another budget has this name, {name!r}")


class Config(Settings, frozen=True, kw_only=True):
    """In force: `host` has a name, paths are absolute, `path` is the file read or None."""

    path: Path | None
