"""One TOML file → one frozen `Config`, or one `ConfigError` that names the key and its meaning.

To add a key: one field below (type, limits, default) and one line in config.example.toml. The
comment on that line is the key's meaning, for `prodlensd init` and for every error about the key.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta

from prodlensd.access import refusal
from prodlensd.model import OperationalError
from prodlensd.text import did_you_mean

SYSTEM_FILE: Final = Path("/etc/prodlensd/config.toml")

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


class ConfigError(OperationalError, ValueError):
    """The configuration cannot be used; the message, for people, names the file and the key."""


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


def load(path: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`, $PRODLENSD_CONFIG, the user's or the system's file, or none.

    Raises ConfigError, also when a file named by one of the first two is missing.
    """
    if named := path or env.get("PRODLENSD_CONFIG"):
        file = _absolute(str(named), Path(), env)
        if (tree := _read(file)) is None:
            raise ConfigError(f"{file}: no such file")
        return build(tree, file, env)
    for file in (user_file(env), SYSTEM_FILE):
        if (tree := _read(file)) is not None:
            return build(tree, file, env)
    return build({}, None, env)


def user_file(env: Mapping[str, str] = os.environ) -> Path:
    """Where the user's configuration belongs, whether or not it is there."""
    home = env.get("PRODLENSD_HOME") or f"{env.get('XDG_CONFIG_HOME') or '~/.config'}/prodlensd"
    return _absolute(home, Path(), env) / "config.toml"


def example() -> str:
    """A configuration file with every key, its default and its meaning."""
    return Path(__file__).with_name("config.example.toml").read_text(encoding="utf-8")


def keys() -> dict[str, str]:
    """Every dotted key and its meaning."""
    table, meanings = "", {}
    for line in example().splitlines():
        if header := re.match(r"#?\[+([\w.]+)\]", line):
            table = f"{header[1]}."
        elif entry := re.match(r"#?(\w+) = .*?  # (.*)", line):
            meanings[table + entry[1]] = entry[2]
    return meanings


def build(tree: dict[str, Any], file: Path | None, env: Mapping[str, str]) -> Config:
    """The configuration that `tree`, the content of `file`, asks for. Raises ConfigError."""
    home = _absolute(env.get("PRODLENSD_HOME") or "~/.local/share/prodlensd", Path(), env)
    tree = dict(tree)
    for table, key, default in (
        ("logs", "directories", [str(home / "logs")]),
        ("store", "path", str(home / "prodlens.db")),
        ("parquet", "directory", str(home / "parquet")),
    ):
        if isinstance(given := tree.get(table, {}), dict):
            tree[table] = {key: default} | given
    pricing = tree.get("pricing")
    if isinstance(pricing, dict) and pricing.get("litellm_prices") == "":
        tree["pricing"] = {k: value for k, value in pricing.items() if k != "litellm_prices"}
    base = file.parent if file else Path()

    def to_path(_kind: type, value: object) -> Path:
        return _absolute(value, base, env)

    try:
        # In a list, so that every message of msgspec's ends in a place: $[0] is the file.
        settings = msgspec.convert([tree], tuple[Settings], dec_hook=to_path)[0]
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {_explain(str(error), tree)}") from None
    if (prices := settings.pricing.litellm_prices) is not None and not prices.is_file():
        raise ConfigError(f"{file}: pricing.litellm_prices: no such file: {prices}")
    values = msgspec.structs.asdict(settings)
    # One ledger has one path, whatever links lead to it: its lock and its -wal lie beside the file.
    # In the place of one that is yet to be made a link leads nowhere: it is replaced.
    real = Path(os.path.realpath(settings.store.path.parent)) / settings.store.path.name
    if os.path.exists(real):  # noqa: PTH110 - Path's own raises where a folder is closed to us
        real = Path(os.path.realpath(real))
    try:
        os.fsencode(real).decode()
    except UnicodeDecodeError:
        where = f"{file}: " if file else ""
        raise ConfigError(f"{where}store.path: SQLite needs a path in UTF-8, not {real}") from None
    values["store"] = msgspec.structs.replace(settings.store, path=real)
    return Config(**values | {"host": settings.host or _host_name(), "path": file})


def check_address(url: str) -> None:
    """Raises ValueError unless this could be the `publish.url` of a host."""
    try:
        build({"publish": {"url": url or "-"}}, None, {})
    except ConfigError as error:
        raise ValueError(str(error).partition("publish.url: ")[2]) from None


def _read(file: Path) -> dict[str, Any] | None:
    """The content of the file; None when there is none."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {refusal(file, error)}") from error
    except (ValueError, RecursionError) as error:  # bad syntax, with line and column; not UTF-8
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _absolute(text: object, base: Path, env: Mapping[str, str]) -> Path:
    """The path meant by `text`, seen from `base`. Raises ConfigError."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError("Expected a path")
    if text.partition("/")[0] == "~":
        text = (env.get("HOME") or "~") + text[1:]
    if (expanded := os.path.expanduser(text)).startswith("~"):  # noqa: PTH111 - Path's own raises
        raise ConfigError(f"Expected a path whose ~ is a known home folder, got {text}")
    path = (base / expanded).absolute()
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise ConfigError(f"Expected a path that can be named in {encoding}, got {text}") from None
    return path


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).lstrip("._-")[:200] or "localhost"


def _explain(verdict: str, tree: dict[str, Any]) -> str:
    """The verdict of msgspec in words of the file. Tests pin the phrases that this relies on."""
    fault, _, place = verdict.rpartition(" - at `$[0]")
    key = place.strip("`.")
    found: Any = tree
    for step in re.findall(r"\w+", key):
        found = found[int(step) if step.isdigit() else step]
    if field := re.fullmatch(r"(?s)Object (contains|missing) \w+ field `(.*)`", fault):
        key = f"{key}.{field[2]}".strip(".")
        if field[1] == "contains":
            return f"unknown key {key!r}{_suggestion(_general(key))}"
        problem = "missing"
    elif isinstance(found, dict) and ": " in fault:  # from a __post_init__ above
        name, _, problem = fault.partition(": ")
        key = f"{key}.{name}".lstrip(".")
    else:
        words = re.sub(r"`str` matching regex .\(\?#|\)\\.*|, got .*| \| null|`", "", fault)
        words = words.replace("object", "table").replace("array", "list")
        meant = ""
        if words.startswith("Invalid enum "):
            choices = [*map(json.dumps, _choices(_general(key)))]
            words = f"Expected {', '.join(choices[:-1])} or {choices[-1]}"
            meant = did_you_mean(_shown(found), choices)
        problem = f"{words[0].lower()}{words[1:]}, found {_shown(found)}{meant}"
    meaning = keys().get(_general(key))
    return f"{key}: {problem}" + (f" ({meaning})" if meaning else "")


def _general(key: str) -> str:
    """The key without the numbers of entries in lists."""
    return re.sub(r"\[\d+\]", "", key)


def _choices(key: str) -> tuple[str, ...]:
    """The words of which a key has one."""
    kind: Any = Settings
    for step in key.split("."):
        fields = msgspec.structs.fields(kind)
        [kind] = [field.type for field in fields if field.encode_name == step]
    return get_args(kind)


def _suggestion(key: str) -> str:
    tables = {known.rpartition(".")[0] for known in keys()} - {""}
    same_depth = (table for table in tables if table.count(".") == key.count("."))
    return did_you_mean(key, [*keys(), *same_depth], most=1, shown=repr)


def _shown(value: object) -> str:
    """A value much as the file wrote it, cut short, and without what may be a password."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
        return f"{re.sub('://[^/]*@', '://…@', text):.60}"
    except ValueError:  # an integer of thousands of digits
        return "a number too long to show"
