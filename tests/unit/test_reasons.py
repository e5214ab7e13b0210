"""Why a line was refused is said in a fixed vocabulary."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import prodlensd
from prodlensd.model import REASONS

PACKAGE = Path(prodlensd.__file__).parent
MODULES = [*(PACKAGE / "formats").glob("*.py"), *(PACKAGE / "pipeline").glob("*.py")]


def reasons_given(source: str) -> set[str]:
    """The reason of every BadLine and every DeadLetter made here; "?" for one that is computed."""
    given = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = {"BadLine": 0, "DeadLetter": 1}.get(node.func.id)  # DeadLetter(*place, reason, …)
            if at is not None:
                reason = node.args[at]
                given.add(str(reason.value) if isinstance(reason, ast.Constant) else "?")
    return given


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_bad_line_has_a_reason_out_of_the_vocabulary(module: Path) -> None:
    given = reasons_given(module.read_text(encoding="utf-8"))
    if module.parent.name == "pipeline":  # hands on the reason of a BadLine
        given.discard("?")
    assert given <= set(REASONS)


def test_the_formats_use_what_the_vocabulary_has_for_them() -> None:
    given = set().union(*(reasons_given(path.read_text(encoding="utf-8")) for path in MODULES))
    assert given - {"?"} >= set(REASONS) - {"unterminated"}


def test_another_reason_would_be_seen() -> None:
    assert reasons_given('raise BadLine("oops", "detail")') == {"oops"}
    assert reasons_given("raise BadLine(reason)") == {"?"}
