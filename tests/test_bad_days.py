"""The table of bad days names tests that exist, and every case of the contract."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "bad-days.md").read_text()
CASES = (
    *("malformed", "truncated", "duplicated", "reordered", "late", "NaN", "negative", "crossed"),
    *("absurd", "future", "unknown coin", "silent but open", "429", "500", "clock jumps"),
    *("gap of minutes", "gap of days", "broker down at the start", "gone for an hour"),
    *("bot absent", "bot slow", "bot refuses", "bot crashes while loading"),
    *("child killed", "child hangs", "child out of memory", "child prints garbage"),
    *("disk full", "read-only", "corrupt database", "model file corrupt", "tampered"),
    *("LATEST.json lost", "two daemons", "at every step of a deploy"),
    *("host's clock steps", "upgraded while it runs", "stopped while", "flood of trades"),
    *("flood of predictions", "comes and goes without end", "flood of answers"),
    *("slow, cut in mid-frame", "slow, cut in mid-message", "funding no longer settled"),
    *("no UTF-8", "ten thousand deep", "1e300", "beyond 64 bit"),
    *("403, 404, 422, 451", "list of coins short", "refused or unanswered", "delisted while"),
)


def test_each_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/\S+)::(\w+)`", PAGE)
    assert len(named) > 50
    missing = [f"{path}::{name}" for path, name in named if name not in collected(ROOT / path)]
    assert not missing, "\n".join(missing)


def collected(path: Path) -> set[str]:
    """Return the names that pytest would collect from a file: functions at its top level."""
    if not path.exists():
        return set()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, kinds) and node.name.startswith("test_")
    }


def test_each_line_that_the_page_quotes_is_one_that_the_daemon_writes() -> None:
    quoted = set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE)) - {"retrain.timeout_s"}
    assert len(quoted) > 25
    code = "".join(
        path.read_text() for side in ("daemon", "client") for path in (ROOT / side).rglob("*.py")
    )
    assert [line for line in sorted(quoted) if f'"{line}"' not in code] == []


def test_no_row_is_without_a_test_and_no_case_without_a_row() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    untested = [row for row in rows if "`tests/" not in row and "| the same |" not in row]
    assert [row for row in untested if not row.startswith("| case |")] == []
    assert [case for case in CASES if case not in PAGE] == []
