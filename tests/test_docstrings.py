"""Every public docstring says what a caller needs: shapes of arrays, errors, units of numbers.

Commands of the command line are left out of the errors: their docstrings are the help texts.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("client/hyperdrift", "daemon", "retrain", "monitor")

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SHAPE = re.compile(r"\bshapes?\b[^.]*\(|\((?:n\w*|\d+)(?:, ?\w+)*,?\)", re.IGNORECASE)
_UNIT = re.compile(
    r"(?<!')\b(ms|milliseconds?|s|seconds?|minutes?|hours?|days?|bars?|trades?|MiB|bytes?|"
    r"fractions?|shares?|parts?|percent|bps|quote|nats?|UTC|open time)\b",
    re.IGNORECASE,
)
# Words for durations, times, prices and fractions that do not say their unit.
_UNITLESS = {
    *("timeout", "delay", "age", "wait", "period", "duration", "interval", "cooldown", "lookback"),
    *("horizon", "window", "since", "until", "deadline", "time", "t", "price", "close", "fee"),
    *("cost", "rate", "share", "fraction", "memory", "size", "pnl"),
}
_NUMBERS = {"int", "float"}
_ARRAYS = {"NDArray", "ndarray", "DataFrame"}


@dataclass(frozen=True)
class Documented:
    """A public function, method or class: where, its docstring, and what it must say."""

    module: str
    name: str
    node: Function | ast.ClassDef
    doc: str

    def __str__(self) -> str:
        return f"{self.module}:{self.node.lineno} {self.name}"


@cache
def trees() -> dict[str, ast.Module]:
    """Return the modules by their path from the root of the repository."""
    paths = chain.from_iterable(sorted((ROOT / package).rglob("*.py")) for package in PACKAGES)
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def public(module: str, tree: ast.Module) -> Iterator[Documented]:
    """Yield what a module offers: `__init__` is documented by its class and itself."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        doc = ast.get_docstring(node) or ""
        yield Documented(module, node.name, node, doc)
        if not isinstance(node, ast.ClassDef):
            continue
        for method in node.body:
            if not isinstance(method, Function):
                continue
            own = ast.get_docstring(method) or ""
            if method.name == "__init__":
                own = f"{doc}\n\n{own}"
            elif method.name.startswith("_"):
                continue
            yield Documented(module, f"{node.name}.{method.name}", method, own)


def everything() -> list[Documented]:
    return list(chain.from_iterable(public(*item) for item in trees().items()))


# --- arrays ---


def words(node: ast.AST | None) -> set[str]:
    """Return the names in an annotation, also those in quotes."""
    found: set[str] = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found |= set(re.findall(r"\w+", part.value))
    return found


@cache
def aliases(module: str) -> frozenset[str]:
    """Return the names that stand for arrays in a module: its own, and those that it imports."""
    found, tree = set(_ARRAYS), trees()[module]
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if (
                isinstance(target, ast.Name)
                and target.id[0].isupper()
                and words(node.value) & found
            ):
                found.add(target.id)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                name.name
                for source in (f"{node.module.replace('.', '/')}.py",)
                if source in trees()
                for name in node.names
                if name.name in aliases(source) - _ARRAYS
            }
    return frozenset(found)


def annotations(one: Documented) -> Iterator[ast.AST]:
    """Yield the annotations of parameters, of the return and of a class's public fields."""
    if isinstance(one.node, ast.ClassDef):
        for node in one.node.body:
            if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
                yield node.annotation
        return
    for argument in arguments(one.node):
        if argument.annotation is not None:
            yield argument.annotation
    if one.node.returns is not None:
        yield one.node.returns


def arguments(function: Function) -> list[ast.arg]:
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def lacks_shape(one: Documented) -> bool:
    with_array = any(words(node) & aliases(one.module) for node in annotations(one))
    return with_array and not _SHAPE.search(one.doc)


# --- errors ---


@cache
def bases() -> dict[str, set[str]]:
    """Return the base classes of each class of ours, and all of theirs."""
    direct = {
        node.name: set().union(*(words(base) for base in node.bases))
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def all_of(name: str) -> set[str]:
        return {name}.union(*(all_of(base) for base in direct.get(name, set()) - {name}))

    return {name: all_of(name) for name in direct}


def raised(nodes: list[ast.stmt], caught: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the error classes that statements raise and do not catch themselves."""
    for node in nodes:
        if isinstance(node, Function | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise):
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(called).rpartition(".")[2] if called is not None else ""
            if name[:1].isupper() and not caught & bases().get(name, {name}):
                yield name
        elif isinstance(node, ast.Try):
            handled = set().union(*(words(handler.type) for handler in node.handlers))
            yield from raised(node.body, caught | handled)
            for handler in node.handlers:
                yield from raised(handler.body, caught)
            yield from raised([*node.orelse, *node.finalbody], caught)
        else:
            for part in ("body", "orelse"):
                yield from raised(getattr(node, part, []), caught)
            for case in getattr(node, "cases", []):
                yield from raised(case.body, caught)


def is_command(function: Function) -> bool:
    """Whether a docstring is the help text of a command."""
    return any(
        re.search(r"\.(command|callback)\b", ast.unparse(d)) for d in function.decorator_list
    )


def untold_errors(one: Documented) -> list[str]:
    if isinstance(one.node, ast.ClassDef) or is_command(one.node):
        return []
    section = one.doc.partition("Raises:\n")[2]
    found = dict.fromkeys(raised(one.node.body))
    found.pop("NotImplementedError", None)
    return [name for name in found if not re.search(rf"\b{name}\b", section)]


# --- units ---


def unitless(one: Documented) -> list[str]:
    """Return parameters, or the name of the function, that need a unit nobody states."""
    if isinstance(one.node, ast.ClassDef) or _UNIT.search(one.doc):
        return []
    named = {argument.arg: argument.annotation for argument in arguments(one.node)}
    named |= {one.node.name: one.node.returns}
    return [
        name
        for name, annotation in named.items()
        if name.rpartition("_")[2] in _UNITLESS
        and words(annotation)
        and words(annotation) <= _NUMBERS | {"None"}
    ]


# --- the tests ---


def test_everything_public_has_a_docstring() -> None:
    assert [str(one) for one in everything() if not one.doc.strip()] == []


def test_a_docstring_says_the_shape_of_every_array() -> None:
    assert [str(one) for one in everything() if lacks_shape(one)] == []


def test_a_docstring_names_the_errors_that_its_body_raises() -> None:
    missing = {str(one): names for one in everything() if (names := untold_errors(one))}
    assert missing == {}


def test_a_number_has_its_unit_in_its_name_or_in_the_docstring() -> None:
    missing = {str(one): names for one in everything() if (names := unitless(one))}
    assert missing == {}


SAMPLE = '''
import numpy as np
Rows = np.ndarray
def shapeless(rows: Rows) -> float:
    """Sum them up."""
def shaped(rows: Rows) -> float:
    """Sum up rows of shape (n, 17)."""
def silent() -> None:
    """Fail."""
    if True:
        raise ValueError("no")
def caught() -> None:
    """Try."""
    try:
        raise ValueError("no")
    except ValueError:
        pass
def slow(timeout: float) -> None:
    """Wait."""
'''


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> dict[str, Documented]:
    tree = ast.parse(SAMPLE)
    monkeypatch.setitem(trees(), "sample.py", tree)
    return {one.name: one for one in public("sample.py", tree)}


def test_the_rules_see_what_is_missing(sample: dict[str, Documented]) -> None:
    assert [name for name, one in sample.items() if lacks_shape(one)] == ["shapeless"]
    assert {n: found for n, one in sample.items() if (found := untold_errors(one))} == {
        "silent": ["ValueError"]
    }
    assert {n: found for n, one in sample.items() if (found := unitless(one))} == {
        "slow": ["timeout"]
    }
