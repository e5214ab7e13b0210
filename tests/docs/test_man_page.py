"""The manual page: out of the wheel, found by man, drawn as it should be."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.docs.commands import commands, own_options
from tests.docs.generate import DOCS
from tests.systemd.root import made_wheel

PAGE = DOCS / "prodlensd.1"


def test_it_has_every_command_and_option() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    sections = re.split(r"(?m)^\.SS prodlensd ", text)[1:]
    for (path, command), section in zip(commands(), sections, strict=True):
        assert section.startswith(f"{' '.join(path)} ")
        for option in own_options(command):
            assert option.opts[-1] in section


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the wheel's files lie where pip puts them."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(made_wheel(folder)) as wheel:
        [name] = [
            name
            for name in wheel.namelist()
            if name.endswith(".data/data/share/man/man1/prodlensd.1")
        ]
        page = folder / "venv" / "share" / "man" / "man1" / "prodlensd.1"
        page.parent.mkdir(parents=True)
        page.write_bytes(wheel.read(name))
    (folder / "venv" / "bin").mkdir()
    return folder / "venv"


@pytest.mark.real_programs
def test_man_finds_it_beside_the_program_and_draws_it_without_a_complaint(venv: Path) -> None:
    environment = {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "MANWIDTH": "80",
        "MAN_KEEP_STDERR": "1",
    }
    done = subprocess.run(
        ["man", "--warnings", "prodlensd"],  # noqa: S607
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for shown in (
        "       report        Usage, cost, errors, latency, by day, developer, model …",
        "   prodlensd prices show [OPTIONS] [MODEL]",
        "           prodlensd report --by developer --since 7d",
        "       ~/.config/prodlensd/config.toml",
        '       cost      of all calls with a known price: "≥" where others have none',
    ):
        assert shown in lines
    assert "proxy's traces" in " ".join(done.stdout.split())
