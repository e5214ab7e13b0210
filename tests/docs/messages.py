"""Finds in the source what the program may say when something is wrong, whatever the modules.

A message is a literal that is given to one of `CALLS`, is assigned to one of `NAMES`, or is
returned by one of `RETURNS`. What is only known when the program runs is `…` in it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

#: What is called → which of its arguments are messages.
CALLS: Final = {
    "fail": (0,),  # a command ends
    "echo": (0,),  # on stderr
    "*Error": (0, 1),  # a command ends, or a fault is named so; a broken invariant is not for users
    "info": (0,),  # the log
    "warning": (0,),
    "error": (0,),
    "exception": (0,),
    "status": (0,),  # what systemctl shows
    "Check": (2, 3),  # status: value and remedy
    "BadLine": (0, 1),  # a dead letter: reason and detail
    "Fault": (1,),  # a path that cannot be read, and why
    "_Refusal": (0,),
    "_pass_over": (1,),
    "OldLog": (1,),  # an old log that is kept
    "Unread": (2,),  # verify: what was not read again, and what differs
    "Difference": (-3, -1),
    "expect": (-3, -1),
    "_expect": (-3, -1),
    "_differs": (-3, -1),
}
NAMES: Final = frozenset(
    (
        "fault",
        "_fault",
        "faults",
        "nothing",
        "outcome",
        "problem",
        "reason",
        "remedies",
    )
)
RETURNS: Final = frozenset(
    (
        *("_advice", "_delete", "explain", "_fault", "_no_such", "_nothing", "_unwatched", "_why"),
        *("_why_down", "did_you_mean", "none_of", "state", "what_is_missing"),
    )
)
CONSTANTS: Final = frozenset(
    (
        "COARSE_USAGE",
        "REASONS",
        "_GONE",
        "_NO_RATES",
        "USAGE_EXCLUSIVE",
        "USAGE_MISMATCH",
        "USAGE_MISSING",
        "USAGE_OF_TRANSCRIPT",
        "USAGE_SHRANK",
        "USAGE_TYPE",
        "USAGE_UNKNOWN",
        "_WHY",
    )
)

_Assigned = Mapping[str, list[ast.expr]]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Message(NamedTuple):
    """What the program may say, by which rule it was found, and where, as module:line."""

    text: str
    rule: str
    place: str


def messages(package: Path) -> Iterator[Message]:
    """All messages of the package; one that stands in several places comes several times."""
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        constants = _assigned(tree.body)
        said = [(name, node) for name in CONSTANTS for node in constants.get(name, ())]
        for function in ast.walk(tree):
            if isinstance(function, _Function):
                said += _said(function, constants)
        for rule, node in said:
            for text in texts(node):
                yield Message(text, rule, f"{file.relative_to(package)}:{node.lineno}")


def _said(function: _Function, constants: _Assigned) -> Iterator[tuple[str, ast.expr]]:
    """The expressions in a function that are, or become, messages; and by which rule."""
    nodes = list(ast.walk(function))
    assigned = _assigned(nodes)
    known = {**constants, **assigned}
    for name in NAMES & assigned.keys():
        yield from ((name, value) for value in assigned[name])
    for node in nodes:
        if isinstance(node, ast.Call):
            rule, arguments = _given(node)
            for given in arguments:
                values = known.get(given.id, []) if isinstance(given, ast.Name) else [given]
                yield from ((rule, value) for value in values)
        elif isinstance(node, ast.Return) and node.value and function.name in RETURNS:
            yield function.name, node.value


def _assigned(nodes: list[ast.AST] | list[ast.stmt]) -> _Assigned:
    """By the name of a variable or attribute, what is assigned, added or appended to it."""
    found = defaultdict(list)
    for node in nodes:
        match node:
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AugAssign(target=target, value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.Call(func=ast.Attribute(value=target, attr="append"), args=[value])
            ):
                found[_name(target)].append(value)
    return found


def _given(call: ast.Call) -> tuple[str, list[ast.expr]]:
    """The rule for a call, and its arguments that are messages."""
    rule = _name(call.func)
    if re.fullmatch(r"(?!Assertion)\w+Error", rule):
        rule = "*Error"
    if rule == "echo" and not any(word.arg == "err" for word in call.keywords):
        return rule, []
    count = len(call.args)
    places = CALLS.get(rule, ())
    return rule, [call.args[place] for place in places if -count <= place < count]


def _name(node: ast.expr) -> str:
    """The last word of a name such as `self._fault`; empty for anything else."""
    return str(getattr(node, "id", None) or getattr(node, "attr", ""))


def texts(node: ast.expr) -> list[str]:
    """The texts that an expression may be, each ready to be compared."""
    match node:
        case ast.Constant(value=str(text)):
            found = re.sub("%[sd]", "…", text)
        case ast.JoinedStr(values=values):
            found = "".join(
                str(each.value) if isinstance(each, ast.Constant) else "…" for each in values
            )
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            return texts(one) + texts(other)
        case ast.BoolOp(values=several) | ast.Dict(values=several) | ast.Tuple(elts=several):
            return [text for each in several for text in texts(each)]
        case _:
            return []
    # Some are added to others, with punctuation between.
    settled = re.sub(r"…(\s*…)+", "…", " ".join(found.split())).strip("; ,")
    return [settled] if re.search("[A-Za-z]{2}", settled) else []
