"""The shape of the code: short functions, no drawer called utils."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 40
LONGEST_MODULE = 400


def modules() -> Iterator[Path]:
    for package in ("client", "daemon", "retrain", "monitor"):
        yield from sorted((ROOT / package).rglob("*.py"))


def test_functions_stay_under_forty_lines() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            doc = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1
            lines -= doc.count("\n") + 1 if doc else 0
            if lines > LONGEST_FUNCTION:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "one function decides, another does:\n" + "\n".join(long)


def test_modules_stay_under_four_hundred_lines() -> None:
    long = {str(p.relative_to(ROOT)): p.read_text().count("\n") for p in modules()}
    assert {k: n for k, n in long.items() if n > LONGEST_MODULE} == {}


def test_no_module_is_called_utils() -> None:
    names = {path.stem for path in modules()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}
