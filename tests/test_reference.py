"""The generated pages say what the code says, and every path that a page names exists."""

import re
import tomllib
from pathlib import Path

import pytest

from docs.generate import commands, configuration, gates, log_lines, rooms, topics
from docs.generate.pages import ROOT, stale

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PLACE = re.compile(
    r"(?<![\w/.<])(?:(?:client|daemon|retrain|monitor|docs|tests|systemd|packaging|benchmarks|examples)/"
    r"[\w./-]*\w)"
)


def test_every_generated_page_is_current() -> None:
    old = [str(path.relative_to(ROOT)) for path in stale()]
    assert not old, f"run `make reference`: {', '.join(old)}"


def test_an_arrow_that_a_longer_way_implies_is_not_drawn() -> None:
    page = rooms.drawn(f"{rooms.BEGIN}{rooms.END}")
    assert ("runtime", "core") in rooms.arrows()
    assert "runtime --> core" not in page
    assert "core --> client" in page


def test_every_policy_key_and_gate_stands_in_the_reference() -> None:
    page = configuration.page()
    for key in ("probation_hours", "false_alarms_per_month", "retry_bars", "win_rate_floor"):
        assert f"| `{key}` |" in page
    assert gates.page().count("\n| `") == 14


def test_every_command_and_topic_stands_in_the_reference() -> None:
    page = commands.page()
    assert page.count("\n## hyperdrift ") >= 23
    assert topics.page().count("\n## `hyperdrift/") == 12


def test_a_line_that_two_branches_name_is_found_under_both_names() -> None:
    events = {line.event for line in log_lines.lines()}
    assert {"feed.stream_back", "feed.stream_connected", "stream.bar_refused"} <= events


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = set(PLACE.findall(page.read_text("utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_glossary_has_each_word_once_with_a_home() -> None:
    page = (ROOT / "docs" / "reference" / "glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `([^`|]+\.py)` \|$", page, re.MULTILINE)
    assert len(rows) == page.count("\n| ") - 2 * page.count("\n| word |")
    words = [word for word, _ in rows]
    assert len(words) == len(set(words)) > 50
    silent = [word for word, home in rows if not _speaks_of(word, ROOT / home)]
    assert silent == []


def _speaks_of(word: str, home: Path) -> bool:
    """Tell whether a module uses a word, or the beginning of each of its longer parts."""
    text = home.read_text("utf-8").lower()
    parts = [part for part in re.findall(r"[a-z]+", word.lower()) if len(part) > 2]
    return all(part[:5] in text for part in parts)


def test_the_readme_gives_a_reason_for_each_dependency() -> None:
    page = (ROOT / "README.md").read_text("utf-8").partition("\n## Dependencies\n")[2]
    explained = {
        name
        for row in re.findall(r"^\| ([\w, -]+) \| ", page, re.MULTILINE)
        for name in row.split(", ")
    }
    asked = set()
    for path in (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        for line in [
            *project.get("dependencies", []),
            *(each for extra in extras for each in extra),
        ]:
            asked.add(re.split(r"[\[<>=~!; ]", line)[0])
    assert asked - explained - {"hyperdrift-client"} == set()
