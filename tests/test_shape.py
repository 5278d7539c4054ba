"""The shape of the code: short functions, short modules, no module called utils."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 40
LONGEST_MODULE = 350
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[Path]:
    for package in ("client", "daemon", "retrain", "monitor", "benchmarks", "docs"):
        yield from sorted((ROOT / package).rglob("*.py"))


def length(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    doc = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - (doc.count("\n") + 1 if doc else 0)


def test_functions_stay_under_forty_lines() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function) and length(node) > LONGEST_FUNCTION:
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                long.append(f"{where}: {length(node)} lines")
    assert not long, "let one function decide and another act:\n" + "\n".join(long)


def test_modules_stay_under_three_hundred_and_fifty_lines() -> None:
    long = {str(p.relative_to(ROOT)): p.read_text().count("\n") for p in modules()}
    assert {k: n for k, n in long.items() if n > LONGEST_MODULE} == {}


def test_no_module_is_called_utils() -> None:
    names = {path.stem for path in modules()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}
