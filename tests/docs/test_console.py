"""What README and docs show of the command line is what the program prints."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.console import faults

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    page.name: text
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    if "```console" in (text := page.read_text(encoding="utf-8"))
}


@pytest.mark.long
@pytest.mark.timeout(900)  # a page starts the program a dozen times; each command has its time
@pytest.mark.parametrize("name", PAGES)
def test_the_console_blocks_of_the_page_print_what_it_shows(name: str, tmp_path: Path) -> None:
    samples = vars(import_module("tests.docs.samples")) if "<!-- sample:" in PAGES[name] else {}
    found = faults(PAGES[name], tmp_path, samples)
    assert not found, f"{name}, " + f"\n\n{name}, ".join(found)


def a_page(*lines: str) -> str:
    return "\n".join(["# A page", "", "```console", *lines, "```", ""])


def a_log(home: Path) -> None:
    """A sample: a log of one line, not read yet."""
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "a.jsonl").write_text("[1]\n")


USAGE = (
    "Usage: python -m prodlensd litellm-callback [OPTIONS]",
    "Try 'python -m prodlensd litellm-callback --help' for help.",
    "",
    "Error: --print and --install exclude each other",
)


class TestARightPage:
    @pytest.mark.parametrize(
        "lines",
        [
            ("$ echo one; echo two >&2", "one", "two"),
            ("$ echo it took 3 ms, pid 4", "it took 17 ms, pid 99"),
            ("$ seq 9", "1", "…", "8", "9"),
            ("$ seq 9", "1", "2", "…"),
            ("$ echo a long line, and more", "a long line…"),
            ("$ echo $HOME/logs", "/home/you/logs"),
            ("$ date +%FT%TZ", "2025-01-02T03:04:05Z"),
            ("$ echo 2001-02-03", "2001-02-03"),
            ("$ stty size <&1", "24 100"),
            ("$ echo one \\", ">     two", "one two"),
            ("$ touch here", "$ ls", "here"),
            ("$ test -t 1 && test -t 2 && echo on a terminal", "on a terminal"),
            ("$ prodlensd status", "…", "health    critical"),  # in red, where colours are
            ("$ prodlensd --version", "prodlensd 9.9.9"),
            ("$ prodlensd litellm-callback --print --install x", *USAGE),
            ("$ sleep 100 &", "$ echo done", "done"),
        ],
        ids=str,
    )
    def test_has_no_faults(self, lines: tuple[str, ...], tmp_path: Path) -> None:
        assert [] == faults(a_page(*lines), tmp_path, {})

    def test_is_run_on_the_sample_that_it_names(self, tmp_path: Path) -> None:
        shown = (
            "$ prodlensd run --once >/dev/null 2>&1",
            "$ prodlensd verify",
            "sources   1 of 1 …",
        )
        page = a_page(*shown, "ledger    1 line = 0 traces …", "…", "verdict   proven complete")
        sampled = page.replace("```console", "<!-- sample: a_log -->\n\n```console")
        assert [] == faults(sampled, tmp_path / "with", {"a_log": a_log})
        assert [] != faults(page, tmp_path / "without", {})


class TestAWrongPage:
    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            (("$ echo one", "two"), "-two\n+one"),
            (("$ echo one; echo two", "one"), "+two"),
            (("$ echo one", "one", "two"), "-two"),
            (("$ echo one",), "+one"),
            (("$ echo 2001-02-03", "2001-02-04"), "+2001-02-03"),
            (("$ seq 9", "1", "…", "8"), "+9"),
            (("$ false",), "exit code 1, and the page does not show why"),
            (("$ seq 9; false", "1", "…"), "exit code 1, and the page does not show why"),
            (("$ nowhere", "…", "bash: line 1: nowhere: command not found"), "exit code 127"),
            (("$ make demo", "…"), "make: use an `sh` block for what a test cannot run"),
            (("$ true && sudo true",), "sudo: use an `sh` block"),
            (("$ ~/bin/pip install .",), "pip: use an `sh` block"),
        ],
        ids=str,
    )
    def test_has_a_fault(self, lines: tuple[str, ...], said: str, tmp_path: Path) -> None:
        [fault] = faults(a_page(*lines), tmp_path, {})
        assert fault.startswith(f"line 4: {lines[0]}\n")
        assert said in fault

    @pytest.mark.parametrize(
        "page",
        [
            a_page(),
            a_page("# apt install prodlensd"),
            "<!-- sample: a_log -->\nSome text.\n" + a_page("$ true"),
            a_page("$ true").replace("```console", "<!-- sample: nobody -->\n```console"),
        ],
    )
    def test_that_does_not_keep_to_the_convention_is_refused(
        self, page: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=r"console block|no function nobody"):
            faults(page, tmp_path, {"a_log": a_log})
