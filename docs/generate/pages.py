"""Which pages are generated, and which of them are not what the code says now."""

from pathlib import Path
from typing import Final

from docs.generate import commands, configuration, errors, events, gates, log_lines, rooms, topics

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
ARCHITECTURE: Final = ROOT / "docs" / "explanation" / "architecture.md"
_NOTE: Final = (
    "<!-- Written by `make reference` from the code. Change the code, not this page. -->\n\n"
)
_PAGES: Final = {
    "commands.md": commands.page,
    "configuration.md": configuration.page,
    "errors.md": errors.page,
    "events.md": events.page,
    "gates.md": gates.page,
    "log-lines.md": log_lines.page,
    "topics.md": topics.page,
}


def stale() -> dict[Path, str]:
    """Return the text that each page should have, of those that have another."""
    wanted = {REFERENCE / name: _NOTE + page() for name, page in _PAGES.items()}
    wanted[ARCHITECTURE] = rooms.drawn(_content(ARCHITECTURE))
    return {path: text for path, text in wanted.items() if _content(path) != text}


def _content(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
