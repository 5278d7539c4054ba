"""The page of the log lines: every event name, its level, its fields, where it is written."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from docs.generate.log_meanings import MEANINGS
from docs.generate.markdown import code, table
from docs.generate.source import calls, functions, modules, texts_of

FunctionKind = ast.FunctionDef | ast.AsyncFunctionDef

_LEVELS: Final = ("debug", "info", "warning", "error", "exception", "failure", "critical")
_HEAD: Final = """# Log lines

On stderr: JSON, or text on a terminal; with a priority where journald reads it. `timestamp` and
`level` stand in each line. After fifty lines of a kind there is one a second, and `left_out` says
how many are missing. What a library logs becomes `library.<name>` with its `text`.

[Bad days](bad-days.md) says which case causes which line, and what the daemon does about it.

"""


@dataclass(frozen=True)
class LogLine:
    """A place that writes a line."""

    event: str
    level: str
    fields: tuple[str, ...]
    path: str


def page() -> str:
    """Return the page."""
    found: dict[str, list[LogLine]] = {}
    for line in lines():
        found.setdefault(line.event, []).append(line)
    if differing := found.keys() ^ MEANINGS.keys():
        text = f"docs/generate/log_meanings.py and the code differ by {sorted(differing)}"
        raise LookupError(text)
    return _HEAD + table(
        ("line", "level", "fields", "what it says", "written in"),
        (_row(event, places) for event, places in sorted(found.items())),
    )


def _row(event: str, places: list[LogLine]) -> tuple[str, ...]:
    levels = sorted({place.level for place in places})
    fields = sorted(dict.fromkeys(name for place in places for name in place.fields))
    shown = [code(name) for name in fields if name != "..."] + ["..."] * ("..." in fields)
    where = sorted({place.path for place in places})
    return (
        *(code(event), ", ".join(levels), ", ".join(shown)),
        *(MEANINGS[event], ", ".join(map(code, where))),
    )


def lines() -> Iterator[LogLine]:
    """Yield every line that the daemon, and a bot's slot, can write."""
    for path, tree in modules("client/hyperdrift", "daemon"):
        for function in functions(tree):
            for call in calls(function):
                for event in _events(call, function, tree):
                    yield LogLine(event, _level(call), _fields(call), path)


def _events(call: ast.Call, function: FunctionKind, tree: ast.Module) -> list[str]:
    if not _level(call) or not call.args:
        return []
    match call.args[0]:
        case ast.Name(name) if name in {each.arg for each in function.args.args}:
            return _named_by_callers(function.name, tree)
        case event:
            return texts_of(event, function)


def _named_by_callers(function: str, tree: ast.Module) -> list[str]:
    return [
        event
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == function and call.args
        for event in texts_of(call.args[0], tree)
    ]


def _fields(call: ast.Call) -> tuple[str, ...]:
    """Return the names of the fields; `...` stands for those of a mapping."""
    return tuple(word.arg or "..." for word in call.keywords if word.arg != "exc_info")


def _level(call: ast.Call) -> str:
    """Return the level of a call that writes a line, nothing for any other."""
    match call.func:
        case ast.Attribute(owner, name) if name in _LEVELS and "log" in ast.unparse(owner):
            return "error" if name in {"exception", "failure"} else name
    return ""
