"""The service of this machine: what is written, what is called, and that it can be undone."""

from __future__ import annotations

import os
import plistlib
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from prodlensd.app import service as wiring
from prodlensd.cli import service
from prodlensd.service import runner, units
from prodlensd.service.runner import Runner, ServiceError
from prodlensd.service.units import Launchd, Program, Systemd

PROJECT = Path(__file__).parents[2]
UNITS = ("prodlensd.service", "prodlensd-user.service")
ANALYZE = "systemd-analyze"
PROGRAM = Program(("/opt/prodlensd/bin/prodlensd", "run"), {})

#: Keeps what it was called with. Says what the file `answer` says, and fails at what `fail` names.
SYSTEMCTL = """\
#!/bin/sh
cd "$FAKE"
echo "$0 $*" | sed 's#.*/##' >> calls
case "$*" in
*"$(cat fail)"*) [ -s fail ] && { echo "no, said systemd" >&2; exit 1; };;
esac
case "$*" in
*show*) cat answer;;
esac
"""
#: Behaves as the real one does: an agent cannot be loaded twice, nor unloaded when it is not there.
LAUNCHCTL = """\
#!/bin/sh
cd "$FAKE"
echo "launchctl $*" >> calls
case "$1 $2" in
"print gui/501") [ ! -e no-session ];;
"print gui/501/prodlensd") [ -e loaded ] && cat loaded;;
"bootout gui/501/prodlensd") [ -e loaded ] && rm loaded;;
"bootstrap gui/501")
    [ -e loaded ] && { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
    printf 'gui/501/prodlensd = {\\n\\tstate = running\\n\\tpid = 42\\n}\\n' > loaded;;
esac
"""


class Fake:
    """A machine whose service manager is a script."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.runtime = folder / "runtime"
        (self.runtime / "systemd").mkdir(parents=True)
        (folder / "bin").mkdir()
        for name, text in (
            ("systemctl", SYSTEMCTL),
            ("systemd-sysusers", SYSTEMCTL),
            ("launchctl", LAUNCHCTL),
        ):
            path = folder / "bin" / name
            path.write_text(text)
            path.chmod(0o755)
        (folder / "fail").write_text("")
        self.answer(LoadState="not-found")
        monkeypatch.setattr(units, "_BOOTED", folder)
        monkeypatch.setattr(wiring, "SYSTEM_FILE", folder / "etc/config.toml")
        for name, value in (
            ("PATH", f"{folder / 'bin'}:/usr/bin:/bin"),
            ("FAKE", str(folder)),
            ("HOME", str(self.home)),
            ("XDG_RUNTIME_DIR", str(self.runtime)),
            ("XDG_CONFIG_HOME", ""),
        ):
            monkeypatch.setenv(name, value)

    def answer(self, **told: str) -> None:
        (self.folder / "answer").write_text("".join(f"{k}={v}\n" for k, v in told.items()))

    def fail(self, what: str) -> None:
        (self.folder / "fail").write_text(what)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [call for call in calls if " show " not in call and " print " not in call]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(service.command, arguments)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path, monkeypatch)


def unit_path(fake: Fake) -> Path:
    return fake.home / ".config/systemd/user/prodlensd.service"


@pytest.mark.parametrize("name", UNITS)
def test_the_shipped_units_are_those_of_the_package(name: str) -> None:
    shipped = (PROJECT / "systemd" / name).read_bytes()
    assert shipped == (Path(units.__file__).parent / name).read_bytes()


@pytest.mark.parametrize("name", UNITS)
def test_each_group_of_settings_has_a_comment_that_says_why(name: str) -> None:
    text = (PROJECT / "systemd" / name).read_text().partition("[Service]\n")[2]
    above = ""
    obvious = ("Restart", "Environment=PRODLENSD_HOME", "UMask")
    for line in text.partition("[Install]")[0].splitlines():
        if line and not line.startswith("#") and not line.startswith(obvious):
            assert above, f"{name}: {line} has no comment above it"
        above = line


@pytest.mark.real_programs  # systemd-analyze
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_with_the_units(name: str, tmp_path: Path) -> None:
    unit = tmp_path / "prodlensd.service"
    scope = ["--user"] if "user" in name else []
    text = Systemd({"HOME": "/"}, user=bool(scope), run_as="root", uid=0).text(
        Program((sys.executable, "-m", "prodlensd", "run"), {})
    )
    unit.write_text(text)
    done = subprocess.run(
        [ANALYZE, *scope, "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert [line for line in done.stderr.splitlines() if "prodlensd" in line] == []


@pytest.mark.real_programs  # systemd-analyze
def test_the_systems_unit_is_exposed_to_no_more_than_one_and_a_half() -> None:
    unit = PROJECT / "systemd" / "prodlensd.service"
    command = [ANALYZE, "security", "--offline=true", "--threshold=15", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_unit_runs_this_installation_on_this_configuration() -> None:
    odd = '/home/d v/100% "$HOME"\\x.toml'
    program = Program(("/opt/a b/prodlensd", "run", "--config", odd), {"PRODLENSD_HOME": "/a %h"})
    text = Systemd({"HOME": "/h"}, user=True, uid=0).text(program)
    assert (
        r'ExecStart="/opt/a b/prodlensd" run --config "/home/d v/100%% \"$$HOME\"\\x.toml"' in text
    )
    assert 'Environment="PRODLENSD_HOME=/a %%h"' in text
    assert "%h/.local/bin" not in text


def test_a_path_that_could_begin_another_setting_is_refused() -> None:
    program = Program(("/opt/prodlensd", "run", "--config", "/a\nExecStartPre=/bin/evil"), {})
    with pytest.raises(ServiceError, match="rename it"):
        Systemd({"HOME": "/h"}, user=True, uid=0).text(program)


def test_the_systems_unit_can_run_as_another_user() -> None:
    text = Systemd({}, user=False, run_as="litellm", uid=0).text(PROGRAM)
    assert "User=litellm\n" in text
    assert "User=prodlensd" not in text


def test_install_writes_enables_starts_and_waits_until_it_is_up(fake: Fake) -> None:
    fake.answer(LoadState="loaded", ActiveState="active", MainPID="7", StatusText="up to date")
    done = fake.run("install", "--user")
    assert (0, "") == (done.exit_code, done.stderr), done.output
    assert "prodlensd is active (pid 7, up to date)" in done.stdout
    assert fake.calls() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable prodlensd.service",
        "systemctl --user reset-failed prodlensd.service",
        "systemctl --user restart --no-block prodlensd.service",
    ]
    assert stat.S_IMODE(unit_path(fake).stat().st_mode) == 0o644
    assert [unit_path(fake)] == list(unit_path(fake).parent.iterdir())
    first = unit_path(fake).read_text()
    assert fake.run("install", "--user").exit_code == 0
    assert unit_path(fake).read_text() == first


def test_install_passes_on_the_configuration_and_the_folders_in_force(
    fake: Fake, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer(LoadState="loaded", ActiveState="active")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/a,/b")
    monkeypatch.setenv("CODEX_HOME", "")
    config = tmp_path / "my config.toml"
    config.write_text("")
    assert fake.run("install", "--user", "-c", str(config)).exit_code == 0
    text = unit_path(fake).read_text()
    assert f'run --config "{config}"\n' in text
    assert f"Environment=PRODLENSD_HOME={home}\n" in text
    assert "Environment=CLAUDE_CONFIG_DIR=/a,/b\n" in text
    assert "CODEX_HOME" not in text


def test_install_refuses_a_bad_configuration_before_it_touches_anything(
    fake: Fake, tmp_path: Path
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[logs]\nfolder = 1\n")
    done = fake.run("install", "--user", "-c", str(config))
    assert done.exit_code == 1
    assert "logs.folder" in done.stderr
    assert not unit_path(fake).exists()
    assert fake.calls() == []


def test_a_service_that_fails_is_said_with_where_to_look(fake: Fake) -> None:
    fake.answer(LoadState="loaded", ActiveState="failed", Result="exit-code")
    done = fake.run("install", "--user")
    assert done.exit_code == 1
    assert "does not run: failed (exit-code)" in done.stderr
    assert "journalctl --user -u prodlensd" in done.stderr


def test_a_unit_that_cannot_be_enabled_does_not_stay(fake: Fake) -> None:
    fake.fail("enable")
    done = fake.run("install", "--user")
    assert done.exit_code == 1
    assert "no, said systemd" in done.stderr
    assert not unit_path(fake).exists()


def test_a_unit_that_was_there_comes_back_when_the_new_one_cannot_be_enabled(fake: Fake) -> None:
    unit_path(fake).parent.mkdir(parents=True)
    unit_path(fake).write_text("before")
    fake.fail("enable")
    assert fake.run("install", "--user").exit_code == 1
    assert unit_path(fake).read_text() == "before"


def test_uninstall_stops_disables_and_removes_it_and_says_what_stays(
    fake: Fake, home: Path
) -> None:
    unit_path(fake).parent.mkdir(parents=True)
    unit_path(fake).write_text("")
    fake.answer(LoadState="loaded", ActiveState="active")
    done = fake.run("uninstall", "--user")
    assert done.exit_code == 0, done.output
    assert str(home / "prodlens.db") in done.stdout
    assert str(home / "logs") in done.stdout
    assert not unit_path(fake).exists()
    assert fake.calls() == [
        "systemctl --user disable --now prodlensd.service",
        "systemctl --user daemon-reload",
        "systemctl --user reset-failed prodlensd.service",
    ]


def test_uninstall_of_nothing_is_no_error(fake: Fake) -> None:
    assert fake.run("uninstall", "--user").exit_code == 0


def test_a_dry_run_says_everything_and_does_nothing(fake: Fake) -> None:
    done = fake.run("install", "--user", "--dry-run")
    assert done.exit_code == 0
    assert "would run systemctl --user enable prodlensd.service" in done.stdout
    assert f"would write {unit_path(fake)}" in done.stdout
    assert not fake.home.exists()
    assert fake.calls() == []


def test_show_says_the_state_first_and_prints_the_unit_when_asked(fake: Fake) -> None:
    before = fake.run("show", "--user")
    assert before.stdout.splitlines() == [
        "service   not installed",
        "          → prodlensd service install",
        f"unit      none; it would be {unit_path(fake)}",
    ]
    would_be = fake.run("show", "--user", "--unit").stdout
    assert "[Service]" in would_be
    fake.answer(LoadState="loaded", ActiveState="active", MainPID="7")
    assert fake.run("install", "--user").exit_code == 0
    after = fake.run("show", "--user")
    assert after.stdout.splitlines() == [
        "service   active (pid 7)",
        f"unit      {unit_path(fake)}",
        "start     systemctl --user start prodlensd",
        "stop      systemctl --user stop prodlensd",
        "log       journalctl --user -u prodlensd",
    ]
    assert fake.run("show", "--user", "--unit").stdout == would_be == unit_path(fake).read_text()
    assert before.stderr == after.stderr == ""


def test_show_says_where_there_is_no_systemd(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", fake.folder / "nothing")
    done = fake.run("show", "--user")
    assert done.exit_code == 0
    assert "service   unknown: systemd does not run on this machine" in done.stdout


@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_a_dry_run_is_refused_where_the_real_run_is(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    for refusal in ("_BOOTED", "PATH"):
        if refusal == "PATH":
            monkeypatch.setenv("PATH", "/nowhere")
        else:
            monkeypatch.setattr(units, "_BOOTED", fake.folder / "nothing")
        real = fake.run("install", scope)
        dry = fake.run("install", scope, "--dry-run")
        assert (real.exit_code, real.stdout) == (1, "")
        assert (real.exit_code, real.output) == (dry.exit_code, dry.output)


def test_a_machine_without_systemctl_is_told_what_to_do(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = fake.run("install", "--user")
    assert done.exit_code == 1
    assert "no systemctl on this machine" in done.stderr
    assert "prodlensd run" in done.stderr


def test_a_machine_that_systemd_did_not_boot_is_told_what_to_do(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "_BOOTED", fake.folder / "nothing")
    done = fake.run("install", "--user")
    assert done.exit_code == 1
    assert "systemd does not run on this machine" in done.stderr


def test_a_user_without_a_service_manager_is_told_how_to_get_one(fake: Fake) -> None:
    (fake.runtime / "systemd").rmdir()
    done = fake.run("install", "--user")
    assert done.exit_code == 1
    assert "loginctl enable-linger" in done.stderr
    assert not unit_path(fake).exists()


def test_only_root_changes_the_systems_services(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for command in ("install", "uninstall"):
        done = fake.run(command, "--system")
        assert done.exit_code == 1
        assert "only root" in done.stderr
    assert fake.calls() == []
    assert not (fake.folder / "etc").exists()


def test_a_system_service_does_not_run_out_of_a_home_folder(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "executable", "/home/dev/.venv/bin/python")
    done = fake.run("install", "--system")
    assert done.exit_code == 1
    assert "lies in a home folder" in done.stderr
    assert fake.calls() == []


# macOS


def launchd(_fake: Fake) -> Launchd:
    return Launchd(os.environ, uid=501)


def test_the_agent_is_a_property_list_of_these_values(fake: Fake) -> None:
    program = Program(("/opt/p & q/prodlensd", "run"), {"PRODLENSD_HOME": "/h"})
    log = str(fake.home / "Library/Logs/prodlensd.log")
    assert plistlib.loads(launchd(fake).text(program).encode()) == {
        "Label": "prodlensd",
        "ProgramArguments": ["/opt/p & q/prodlensd", "run"],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 10,
        "ProcessType": "Background",
        "LowPriorityIO": True,
        "Umask": 0o077,
        "StandardOutPath": log,
        "StandardErrorPath": log,
        "EnvironmentVariables": {"PRODLENSD_HOME": "/h"},
    }


def test_an_agent_is_loaded_loaded_again_and_unloaded(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mac = SimpleNamespace(platform="darwin", executable="/opt/prodlensd/bin/python")
    monkeypatch.setattr(wiring, "sys", mac)
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    plist = fake.home / "Library/LaunchAgents/prodlensd.plist"
    done = fake.run("install")
    assert done.exit_code == 0, done.output
    assert "prodlensd is running (pid 42)" in done.stdout
    load = [
        "launchctl enable gui/501/prodlensd",
        f"launchctl bootstrap gui/501 {plist}",
    ]
    assert fake.calls() == load
    assert plistlib.loads(plist.read_bytes())["Label"] == "prodlensd"

    assert fake.run("install").exit_code == 0
    assert fake.calls() == ["launchctl bootout gui/501/prodlensd", *load]
    shown = fake.run("show").stdout
    assert "service   running (pid 42)\n" in shown
    assert "stop      launchctl kill TERM gui/501/prodlensd\n" in shown

    assert fake.run("uninstall").exit_code == 0
    assert fake.calls() == ["launchctl bootout gui/501/prodlensd"]
    assert not plist.exists()
    assert fake.run("uninstall").exit_code == 0
    assert fake.calls() == []

    refused = fake.run("install", "--system")
    assert refused.exit_code == 1
    assert "agent of yours" in refused.stderr


def test_an_agent_needs_a_session_at_the_screen(fake: Fake) -> None:
    (fake.folder / "no-session").touch()
    with pytest.raises(ServiceError, match="log in at the Mac's own screen"):
        launchd(fake).check()


def test_what_launchd_says_of_an_agent_that_failed(fake: Fake) -> None:
    (fake.folder / "loaded").write_text("\tstate = spawn scheduled\n\tlast exit code = 78\n")
    state = launchd(fake).state()
    assert not state.is_up
    assert state.has_failed
    assert state.detail == "last exit code 78"


def test_a_command_that_gives_no_answer_is_an_error(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_TIMEOUT_S", 0.2)
    (fake.folder / "bin/systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ServiceError, match="no answer within"):
        Runner(os.environ).run("systemctl", "daemon-reload")
