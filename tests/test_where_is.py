"""The page for newcomers answers at least forty questions, each with a place that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "explanation" / "where-is.md").read_text("utf-8")
ANSWERS = re.findall(r"^\| ([^|]+\?) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)


def test_at_least_forty_questions_are_answered() -> None:
    assert len(ANSWERS) >= 40
    assert len(ANSWERS) == PAGE.count("\n| ") - 2 * PAGE.count("\n| question |")
    assert len({question for question, _, _ in ANSWERS}) == len(ANSWERS)


def test_each_path_and_each_name_in_it_exists() -> None:
    missing = [f"{path}: {name}" for _, path, name in ANSWERS if name not in defined(ROOT / path)]
    assert missing == []


def test_the_questions_lead_into_every_part_of_the_house() -> None:
    parts = {Path(path).parts[0] for _, path, _ in ANSWERS}
    assert parts == {"client", "daemon", "monitor", "retrain"}
    rooms = {Path(path).parts[1] for _, path, _ in ANSWERS if path.startswith("daemon/")}
    assert len(rooms) >= 12


def defined(path: Path) -> set[str]:
    """Return the names of functions, classes and constants at the top level of a module."""
    names: set[str] = set()
    if not path.exists():
        return names
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.Assign(targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(ast.Name(name)):
                names.add(name)
    return names
