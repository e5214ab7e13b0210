"""The configuration: where it is found, what it means, and what is said about a wrong one."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import config
from prodlensd.config import (
    Config,
    ConfigError,
    Fallback,
    PriceOverride,
    Settings,
    ledger_path,
    load,
)
from prodlensd.config.settings import _Table

REPOSITORY = Path(__file__).parents[2]

OVERRIDE = "[[pricing.override]]\nmodel = 'm'\ninput_usd_per_million = 1\n"
BUDGET = "[[budget]]\nname = 'b'\n"
SAME_DAY = "\nvalid_from = 2026-02-01\nvalid_to = 2026-02-01"


@pytest.fixture(autouse=True)
def no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "etc" / "config.toml"
    monkeypatch.setattr("prodlensd.config.files.SYSTEM_FILE", file)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.toml"


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def refusal(file: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(file, text))
    return str(caught.value)


def fields(struct: type[_Table], prefix: str = "") -> Iterator[str]:
    """Every dotted key that the structs have."""
    for field in msgspec.structs.fields(struct):
        types = [field.type, *getattr(field.type, "__args__", ())]
        tables = [kind for kind in types if isinstance(kind, type) and issubclass(kind, _Table)]
        key = prefix + field.encode_name
        yield from fields(tables[0], f"{key}.") if tables else [key]


def keys_of(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a parsed file has."""
    for name, value in tree.items():
        table = value
        if isinstance(value, list) and isinstance(value[0], dict):
            table = {key: inner for entry in value for key, inner in entry.items()}
        if isinstance(table, dict):
            yield from keys_of(table, f"{prefix}{name}.")
        else:
            yield prefix + name


def uncommented(text: str) -> str:
    """The example with every key in force: `#key`, where prose is `# prose`."""
    return re.sub(r"(?m)^#(?=[\w\[])", "", text)


class TestDefaults:
    def test_without_any_file_every_key_has_the_value_of_the_contract(self, home: Path) -> None:
        found = load()
        assert found == Config(
            path=None,
            host=found.host,
            logs=config.Logs(
                directories=(home / "logs",),
                recursive=False,
                include=(
                    *("*.jsonl", "*.jsonl.*", "*.jsonl-*"),
                    *("*.json.log", "*.json.log.*", "*.json.log-*"),
                ),
                rescan_interval_s=5.0,
                max_line_bytes=16_777_216,
            ),
            store=config.Store(
                path=home / "prodlens.db", durability="full", batch_max_lines=10_000
            ),
            parquet=config.Parquet(enabled=True, directory=home / "parquet", interval_s=300),
            retention=config.Retention(store_days=0, log_days=0),
            pricing=config.Pricing(
                prefer="gateway",
                free_providers=("ollama", "lm_studio", "hosted_vllm"),
                fallback=None,
                override=(),
            ),
            transcripts=config.Transcripts(
                claude_code=False, codex=False, billing="api", developer=""
            ),
            publish=config.Publish(url=""),
            http=config.Http(listen=""),
            proxy=config.Proxy(url=""),
            status=config.Status(
                heartbeat_critical_s=30,
                lag_warning_bytes=67_108_864,
                lag_warning_s=300,
                dead_letters_warning_count=0,
                free_warning_bytes=1_073_741_824,
                free_critical_bytes=67_108_864,
                wal_warning_bytes=268_435_456,
                snapshot_warning_intervals=3,
                unpriced_warning_share=0.01,
                silence_warning_s=604_800,
            ),
            log=config.Log(level="info"),
        )

    def test_without_prodlensd_home_the_defaults_are_in_the_users_home(self) -> None:
        found = load(env={"HOME": "/home/ada"})
        base = Path("/home/ada/.local/share/prodlensd")
        assert (base / "logs",) == found.logs.directories
        assert base / "prodlens.db" == found.store.path
        assert base / "parquet" == found.parquet.directory

    def test_an_empty_file_changes_nothing_but_the_path(self, file: Path) -> None:
        assert load(write(file, "")) == msgspec.structs.replace(load(), path=file)

    def test_the_host_is_the_host_name_in_safe_characters(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, safe in [("ada.local", "ada.local"), ("_Ada's Mac/1", "Ada-s-Mac-1"), ("", None)]:
            monkeypatch.setattr(os, "uname", lambda name=name: SimpleNamespace(nodename=name))
            assert (safe or "localhost") == load().host

    def test_a_value_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError, match="immutable"):
            load().store.batch_max_lines = 1  # type: ignore[misc]


class TestLedger:
    @pytest.mark.parametrize(
        "text",
        ["", "[store]\n", "[store]\npath = 'x.db'", "[store]\npath = '~/x.db'", "[parquet]\n"],
    )
    def test_its_place_alone_is_the_one_that_all_of_the_configuration_has(
        self, file: Path, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/real.db").touch()
        (tmp_path / "x.db").symlink_to("elsewhere/real.db")
        env = {"HOME": str(tmp_path)}
        assert load(write(file, text), env=env).store.path == ledger_path(file, env=env)

    def test_it_has_one_without_a_file_as_well(self, tmp_path: Path) -> None:
        env = {"PRODLENSD_HOME": str(tmp_path)}
        assert load(env=env).store.path == ledger_path(env=env) == tmp_path / "prodlens.db"

    @pytest.mark.parametrize(
        "text", ["store = 5", "store = 'x.db'", "[store]\npath = 5", "[store]\npath = ''", "what?"]
    )
    def test_a_mistake_about_it_is_found_without_the_rest(self, file: Path, text: str) -> None:
        with pytest.raises(ConfigError):
            ledger_path(write(file, text))

    def test_a_mistake_elsewhere_is_not(self, file: Path, tmp_path: Path) -> None:
        text = f"[store]\npath = '{tmp_path}/x.db'\n[log]\nlevel = 'loud'\n"
        assert tmp_path / "x.db" == ledger_path(write(file, text))


class TestSearch:
    def test_each_place_wins_over_those_after_it(
        self, tmp_path: Path, no_system_file: Path
    ) -> None:
        env = {"HOME": str(tmp_path)}
        for place in (
            no_system_file,
            tmp_path / ".config/prodlensd/config.toml",
            tmp_path / "xdg/prodlensd/config.toml",
            tmp_path / "prodlensd-home/config.toml",
            tmp_path / "from-variable.toml",
            tmp_path / "from-option.toml",
        ):
            write(place, "")
            if place.parts[-3] == "xdg":
                env["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
            if place.parts[-2] == "prodlensd-home":
                env["PRODLENSD_HOME"] = str(place.parent)
            if place.name == "from-variable.toml":
                env["PRODLENSD_CONFIG"] = str(place)
            option = place if place.name == "from-option.toml" else None
            assert place == load(option, env=env).path

    def test_an_empty_variable_is_an_unset_one(self, tmp_path: Path) -> None:
        env = {"PRODLENSD_CONFIG": "", "PRODLENSD_HOME": "", "XDG_CONFIG_HOME": ""}
        env["HOME"] = str(tmp_path)
        user = write(tmp_path / ".config/prodlensd/config.toml", "")
        assert user == load(env=env).path
        assert user == config.user_file(env)

    def test_a_named_file_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing.toml"
        for path, env in [(missing, {}), (None, {"PRODLENSD_CONFIG": str(missing)})]:
            with pytest.raises(ConfigError, match=re.escape(f"{missing}: no such file")):
                load(path, env=env)

    def test_a_file_that_cannot_be_read_is_an_error_and_not_skipped(self, home: Path) -> None:
        (home / "config.toml").mkdir(parents=True)
        with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: Is a directory"):
            load()

    def test_without_a_home_it_asks_for_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        with pytest.raises(ConfigError, match="known home folder"):
            load(env={})


class TestValues:
    def test_a_ledger_has_one_path_whatever_links_lead_to_it(
        self, file: Path, tmp_path: Path
    ) -> None:
        folder, link = tmp_path / "disk", tmp_path / "link"
        folder.mkdir()
        link.symlink_to(folder)
        (tmp_path / "linked.db").symlink_to(folder / "real.db")  # which is not there yet
        (tmp_path / "round").symlink_to(tmp_path / "round")
        for path, real in (
            ("linked.db", "linked.db"),  # nothing is there: a new ledger takes the link's place
            ("link/real.db", "disk/real.db"),
            ("link/../new/x.db", "new/x.db"),
            ("round", "round"),
        ):
            write(file, f"[store]\npath = '{tmp_path / path}'")
            assert tmp_path / real == load(file).store.path

    def test_a_path_that_sqlite_cannot_take_is_refused(self, tmp_path: Path) -> None:
        home = str(tmp_path / "caf\udce9")
        with pytest.raises(ConfigError, match=r"^store\.path: SQLite needs a path in UTF-8"):
            config.build({}, None, {"PRODLENSD_HOME": home})

    def test_a_path_that_the_locale_cannot_name_is_refused(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def in_ascii(path: os.PathLike[str]) -> bytes:
            return str(path).encode("ascii", "surrogateescape")

        monkeypatch.setattr(os, "fsencode", in_ascii)
        write(file, "[logs]\ndirectories = ['/日本']")
        with pytest.raises(
            ConfigError, match=r"logs\.directories.*expected a path that can be named"
        ):
            load(file)

    def test_paths_may_use_the_home_folder_or_start_at_the_file(self, file: Path) -> None:
        write(file, "[logs]\ndirectories = ['~/a', 'b', '/c']\n[store]\npath = '../x.db'")
        found = load(file, env={"HOME": "/home/ada"})
        assert (Path("/home/ada/a"), file.parent / "b", Path("/c")) == found.logs.directories
        assert file.parent.parent / "x.db" == found.store.path

    def test_folders_of_transcripts_are_paths_like_others(self, file: Path) -> None:
        write(file, "[transcripts]\nclaude_code = ['~/a', 'b']\ncodex = true")
        found = load(file, env={"HOME": "/home/ada"}).transcripts
        assert (Path("/home/ada/a"), file.parent / "b") == found.claude_code
        assert found.codex is True

    def test_prices_are_read_whole(self, file: Path) -> None:
        text = "[pricing.fallback]\ninput_usd_per_million = 1\noutput_usd_per_million = 2.5\n"
        text += OVERRIDE + "output_usd_per_million = 0.1\nprovider = 'azure'\n"
        text += "valid_from = 2026-01-01\nvalid_to = '2026-07-01'\ncache_read_usd_per_million = 0\n"
        found = load(write(file, text)).pricing
        expected = Fallback(input_usd_per_million=1.0, output_usd_per_million=2.5)
        assert expected == found.fallback
        override = PriceOverride(
            model="m",
            provider="azure",
            valid_from=date(2026, 1, 1),
            valid_to=date(2026, 7, 1),
            input_usd_per_million=1.0,
            output_usd_per_million=0.1,
            cache_read_usd_per_million=0.0,
        )
        assert (override,) == found.override

    @pytest.mark.parametrize(
        ("listen", "address"),
        [
            ("", None),
            ("127.0.0.1:9469", ("127.0.0.1", 9469)),
            ("localhost:0", ("localhost", 0)),
            ("[::1]:65535", ("::1", 65535)),
        ],
    )
    def test_the_address_to_listen_on(
        self, file: Path, listen: str, address: tuple[str, int] | None
    ) -> None:
        assert address == load(write(file, f"http.listen = '{listen}'")).http.address

    @pytest.mark.parametrize("text", ["\ufeffhost = 'a'", "host = 'a'\r\n"])
    def test_files_from_other_editors_are_read(self, file: Path, text: str) -> None:
        assert load(write(file, text)).host == "a"


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("host = 'a/b'", "host: expected a letter or digit, then also any of . _ -, found"),
            ("host = '..'", "host: expected"),
            ("host = '_a'", "host: expected"),
            ('host = "a\\n"', "host: expected"),
            ("host = 1", "host: expected str, found 1"),
            ("logs = 5", "logs: expected table, found 5"),
            ("logs.directories = []", "logs.directories: expected list of length >= 1, found []"),
            ("logs.directories = '/a'", 'logs.directories: expected list, found "/a"'),
            ("logs.directories = ['/a', 1]", "logs.directories[1]: expected a path, found 1"),
            ("logs.directories = ['']", 'logs.directories[0]: expected a path, found ""'),
            (
                "logs.directories = ['~no-one-here/a']",
                "logs.directories[0]: expected a path whose ~",
            ),
            ("logs.recursive = 1", "logs.recursive: expected bool, found 1"),
            ("logs.include = ['a', 'b', 3]", "logs.include[2]: expected str, found 3"),
            ("logs.include = ['a/b']", "logs.include[0]: expected a file name, which has no '/'"),
            ("logs.rescan_interval_s = 0", "logs.rescan_interval_s: expected float > 0.0, found 0"),
            ("logs.rescan_interval_s = nan", "logs.rescan_interval_s: expected float > 0.0"),
            ("logs.rescan_interval_s = inf", "logs.rescan_interval_s: expected float <= 86400.0"),
            ("logs.rescan_interval_s = '5'", 'logs.rescan_interval_s: expected float, found "5"'),
            ("logs.max_line_bytes = 0", "logs.max_line_bytes: expected int >= 1, found 0"),
            ("store.path = 2026-01-01", "store.path: expected a path, found"),
            ('store.path = "a\\u0000b"', "store.path: expected a path, found"),
            ("store.durability = 'fast'", 'durability: expected "full" or "normal", found "fast"'),
            ("store.batch_max_lines = true", "store.batch_max_lines: expected int, found true"),
            ("store.batch_max_lines = 1.0", "store.batch_max_lines: expected int, found 1.0"),
            ("store.batch_max_lines = 'many'", 'batch_max_lines: expected int, found "many"'),
            (f"store.batch_max_lines = 0x{'f' * 5000}", "found a number too long to show"),
            ("parquet.enabled = 'yes'", 'parquet.enabled: expected bool, found "yes"'),
            ("parquet.directory = []", "parquet.directory: expected a path, found []"),
            ("parquet.interval_s = -1", "parquet.interval_s: expected float > 0.0, found -1"),
            ("retention.store_days = -1", "retention.store_days: expected int >= 0, found -1"),
            (
                "retention.log_days = 99999",
                "retention.log_days: expected int <= 36500, found 99999",
            ),
            ("pricing.prefer = 'me'", 'pricing.prefer: expected "gateway" or "table", found "me"'),
            ("pricing.free_providers = ['']", "pricing.free_providers[0]: expected a text that is"),
            ("pricing.fallback = 3", "pricing.fallback: expected table, found 3"),
            (
                "pricing.fallback.input_usd_per_million = 1",
                "pricing.fallback.output_usd_per_million: missing",
            ),
            (OVERRIDE, "pricing.override[0].output_usd_per_million: missing"),
            (
                f"{OVERRIDE}output_usd_per_million = -1",
                "pricing.override[0].output_usd_per_million: expected float >= 0.0, found -1",
            ),
            (
                f"{OVERRIDE}output_usd_per_million = 1\nvalid_from = 'May'",
                "pricing.override[0].valid_from: invalid RFC3339 encoded date, found",
            ),
            (
                f"{OVERRIDE}output_usd_per_million = 1\nvalid_from = 2026-02-01T00:00:00Z",
                "pricing.override[0].valid_from: expected date, found",
            ),
            (
                f"{OVERRIDE}output_usd_per_million = 1{SAME_DAY}",
                "pricing.override[0].valid_to: expected a day after valid_from, 2026-02-01, found",
            ),
            (
                "transcripts.claude_code = 'yes'",
                'transcripts.claude_code: expected true, false or a list, found "yes"',
            ),
            ("transcripts.codex = []", "transcripts.codex: expected list of length >= 1, found []"),
            ("transcripts.codex = [1]", "transcripts.codex[0]: expected a path, found 1"),
            (
                "transcripts.billing = 'max'",
                'transcripts.billing: expected "api" or "plan", found "max"',
            ),
            ("transcripts.developer = ' a'", "transcripts.developer: expected one line without"),
            (f"{BUDGET}", "budget[0].monthly_usd: expected exactly one of daily_usd, weekly"),
            (f"{BUDGET}daily_usd = 1\nweekly_usd = 2", "budget[0].weekly_usd: expected exactly"),
            (f"{BUDGET}daily_usd = 0", "budget[0].daily_usd: expected float > 0.0"),
            (f"{BUDGET}daily_usd = 1\nwarn_at = 80", "budget[0].warn_at: expected float <= 1.0"),
            (
                f"{BUDGET}daily_usd = 1\nteam = 'a'\nmodel = 'b'",
                "budget[0].model: a budget is of one of team, developer, repo, model, host",
            ),
            (
                f"{BUDGET}daily_usd = 1\n{BUDGET}daily_usd = 2",
                "budget[1].name: another budget has this name, 'b' (what the budget is called)",
            ),
            ("[[budget]]\ndaily_usd = 1", "budget[0].name: missing (what the budget is called)"),
            ("notify.webhook = 'ftp://x'", "notify.webhook: expected an http:// or https:// addr"),
            ("notify.webhook = 'http://x:0'", "notify.webhook: expected a host, and a port"),
            ("publish.url = 'http://a'", "publish.url: expected a file://, s3:// or gs:// address"),
            ("publish.url = 's3://key:secret@b'", 'in it, found "s3://…@b"'),
            ("publish.url = 'file://mnt/team'", "publish.url: expected a file://"),
            ("publish.url = 's3://b?x=1'", "publish.url: 'x' is not an option; there are region,"),
            (
                "publish.url = 's3://b?allow_delayed_open=true'",
                "publish.url: 'allow_delayed_open' is",
            ),
            ("publish.url = 's3://b/a/../c'", "publish.url: expected a prefix without"),
            (
                "publish.url = 's3://b'\nparquet.enabled = false",
                "publish.url: needs snapshots, and parquet.enabled is false",
            ),
            (
                "retention.store_days = 1\nparquet.enabled = false",
                "retention.store_days: needs snapshots, and parquet.enabled is false",
            ),
            ("http.listen = '9469'", 'http.listen: expected host:port, found "9469"'),
            ("http.listen = ':9469'", "http.listen: expected host:port"),
            ("http.listen = 'a:70000'", "http.listen: expected a port up to 65535, found 70000"),
            ("proxy.url = 'localhost'", "proxy.url: expected an http:// or https:// address"),
            ("proxy.url = 'http://a:70000'", "proxy.url: expected a host, and a port up to 65535"),
            ("proxy.url = 'http://[::1'", "proxy.url: expected a host, and a port up to 65535"),
            ("proxy.url = 'http://:4000'", "proxy.url: expected a host"),
            ("status.lag_warning_bytes = -1", "status.lag_warning_bytes: expected int >= 0"),
            ("status.lag_warning_s = nan", "status.lag_warning_s: expected float >= 0.0"),
            (
                "status.unpriced_warning_share = 1.5",
                "status.unpriced_warning_share: expected float <= 1.0, found 1.5",
            ),
            (
                "status.heartbeat_critical_s = 0",
                "status.heartbeat_critical_s: expected float > 0.0, found 0",
            ),
            (
                "log.level = 'loud'",
                'log.level: expected "debug", "info", "warning" or "error", found "loud"',
            ),
            (
                "log.level = 'x - at `$[0].host`'",
                'log.level: expected "debug", "info", "warning" or "error", found "x - at',
            ),
        ],
    )
    def test_a_wrong_value_is_named_with_its_key_and_its_meaning(
        self, file: Path, text: str, problem: str
    ) -> None:
        message = refusal(file, text)
        assert problem in message
        assert message.startswith(f"{file}: ")
        key = re.sub(r"\[\d+\]", "", message.removeprefix(f"{file}: ").partition(": ")[0])
        if key not in {"logs", "pricing.fallback"}:  # tables have no meaning of their own
            assert message.endswith(f" ({config.keys()[key]})")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("logs.directorys = []", "'logs.directorys'; did you mean 'logs.directories'?"),
            ("directories = []", "'directories'; did you mean 'logs.directories'?"),
            ("pricing.fallbak = 1", "'pricing.fallbak'; did you mean 'pricing.fallback'?"),
            ("stor.path = 'x'", "'stor'; did you mean 'store'?"),
            (
                f"{OVERRIDE}modle = 1",
                "'pricing.override[0].modle'; did you mean 'pricing.override.model'?",
            ),
            ("zzzzzz = 1", "'zzzzzz'"),
            ("logs.x = 1", "'logs.x'"),
            (f"{BUDGET}teem = 'x'", "'budget[0].teem'; did you mean 'budget.team'?"),
            ("path = 'x'", "'path'; did you mean 'store.path'?"),
            ('"a\\nb" = 1', r"'a\nb'"),
            ("'a - at `$[0].host`' = 1", "'a - at `$[0].host`'"),
            ("'' = 1", "''"),
        ],
    )
    def test_an_unknown_key_is_named_with_its_likely_spelling(
        self, file: Path, text: str, problem: str
    ) -> None:
        assert f"{file}: unknown key {problem}" == refusal(file, text)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("host = 'a'\nhost : 'b'", "(at line 2, column 6)"),
            ("a = 1\na = 2", "Cannot overwrite a value"),
            ("a = " + "[" * 5000, "recursion"),
            ("a = " + "9" * 5000, "5000 digits"),
        ],
        ids=["syntax", "twice", "deep", "long"],
    )
    def test_what_is_not_toml_is_said_with_its_place(
        self, file: Path, text: str, problem: str
    ) -> None:
        message = refusal(file, text)
        assert message.startswith(f"{file}: not valid TOML: ")
        assert problem in message

    def test_what_is_not_utf8_is_said(self, file: Path) -> None:
        file.write_bytes(b"host = '\xff'")
        with pytest.raises(ConfigError, match="not valid TOML: 'utf-8' codec can't decode"):
            load(file)


class TestFoldersApart:
    """A file is a log, a transcript of one agent, or ours: no folder may leave that open."""

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "codex = ['/l']",
                "transcripts.codex: /l overlaps with logs.directories, /l: expected",
            ),
            ("codex = ['/l/a/b']", "transcripts.codex: /l/a/b overlaps with logs.directories, /l"),
            ("codex = ['/']", "transcripts.codex: / overlaps with logs.directories, /l: expected"),
            ("codex = ['/p/a']", "transcripts.codex: /p/a overlaps with parquet.directory, /p"),
            ("codex = ['/s']", "transcripts.codex: /s overlaps with store.path, /s/x.db: expected"),
            (
                "codex = ['/t']\nclaude_code = ['/t']",
                "transcripts.codex: /t overlaps with transcripts.claude_code, /t: expected",
            ),
            (
                "claude_code = ['/ok', '/x/../l/a']",
                "transcripts.claude_code: /x/../l/a overlaps with logs.directories, /l: expected",
            ),
        ],
    )
    def test_a_folder_in_another_or_around_it_is_refused(
        self, file: Path, text: str, problem: str
    ) -> None:
        others = "logs.directories = ['/l']\nparquet.directory = '/p'\nstore.path = '/s/x.db'\n"
        message = refusal(file, f"{others}[transcripts]\n{text}")
        assert message.startswith(f"{file}: {problem}")
        key = problem.partition(":")[0]
        assert message.endswith(f"expected folders that are apart ({config.keys()[key]})")

    def test_also_where_links_or_the_agents_environment_lead_there(
        self, file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "codex/sessions").mkdir(parents=True)
        (tmp_path / "logs").symlink_to(tmp_path / "codex")
        write(file, "logs.directories = ['logs']\ntranscripts.codex = true")
        env = {"HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "codex")}
        with pytest.raises(ConfigError, match=r"transcripts\.codex: .*/codex/sessions overlaps"):
            load(file, env=env)

    def test_folders_beside_each_other_are_apart(self, file: Path) -> None:
        text = "logs.directories = ['/a/l']\nstore.path = '/a/x.db'\nparquet.directory = '/a/p'\n"
        load(write(file, text + "transcripts.codex = ['/a/lo', '/a/lo/ng']"))


class TestExample:
    def test_it_has_every_key_and_no_other(self) -> None:
        assert sorted(fields(Settings)) == sorted(
            keys_of(tomllib.loads(uncommented(config.example())))
        )

    def test_every_key_has_a_meaning_on_its_line(self) -> None:
        assert sorted(fields(Settings)) == sorted(config.keys())
        assert all(config.keys().values())

    def test_as_it_comes_it_changes_nothing(self, file: Path) -> None:
        assert load(write(file, config.example())) == msgspec.structs.replace(load(), path=file)

    def test_the_values_it_shows_are_the_defaults(self, file: Path) -> None:
        env = {"HOME": "/home/ada"}
        shown = load(write(file, uncommented(config.example())), env=env)
        assert shown.pricing.fallback is not None
        assert len(shown.pricing.override) == 1
        pricing = msgspec.structs.replace(shown.pricing, fallback=None, override=())
        assert {budget.scope for budget in shown.budget} == {None, *config.SCOPES}
        expected = msgspec.structs.replace(shown, path=None, pricing=pricing, budget=())
        assert load(env=env) == expected

    def test_the_one_in_the_repositorys_root_is_the_one_in_the_package(self) -> None:
        root = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8")
        assert config.example() == root


SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([date(2026, 1, 1), time(1, 2), datetime(2026, 1, 1, tzinfo=UTC)])
)
PARTS = sorted({part for key in config.keys() for part in key.split(".")})  # noqa: SIM118 - a function
NAMES = st.text(max_size=12) | st.sampled_from(PARTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)
TREES = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=4)


class TestAnything:
    """Whatever a file holds, the answer is a Config or a ConfigError."""

    @pytest.mark.long
    @given(tree=TREES)
    def test_any_tree(self, tree: dict[str, Any]) -> None:
        try:
            found = config.build(tree, Path("/x/config.toml"), {"HOME": "/home/ada"})
        except ConfigError as error:
            assert str(error).startswith("/x/config.toml: ")  # noqa: PT017 - either outcome is right
        else:
            assert isinstance(found, Config)
            assert all(path.is_absolute() for path in found.logs.directories)

    @pytest.mark.long
    @given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    def test_any_bytes(self, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
        file = tmp_path_factory.getbasetemp() / "any.toml"
        file.write_bytes(content)
        try:
            load(file, env={"HOME": "/home/ada"})
        except ConfigError as error:
            assert str(error).startswith(f"{file}: ")  # noqa: PT017 - either outcome is right
