"""Which pages and copies are generated, and which of them are not what the code says now."""

from pathlib import Path
from typing import Final

from docs.generate import (
    api,
    commands,
    configuration,
    errors,
    events,
    formulas,
    gates,
    log_lines,
    metrics,
    rooms,
    topics,
    vectors,
    version_cases,
    version_vectors,
)

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
VECTORS: Final = REFERENCE / "vectors"
ARCHITECTURE: Final = ROOT / "docs" / "explanation" / "architecture.md"
_NOTE: Final = (
    "<!-- Written by `make reference` from the code. Change the code, not this page. -->\n\n"
)
_PAGES: Final = {
    "api.md": api.page,
    "commands.md": commands.page,
    "configuration.md": configuration.page,
    "errors.md": errors.page,
    "events.md": events.page,
    "gates.md": gates.page,
    "log-lines.md": log_lines.page,
    "metrics.md": metrics.page,
    "topics.md": topics.page,
}


def stale() -> dict[Path, bytes]:
    """Return the content that each generated file should have, of those that have another."""
    wanted = {REFERENCE / name: (_NOTE + page()).encode() for name, page in _PAGES.items()}
    wanted[ARCHITECTURE] = rooms.drawn(_content(ARCHITECTURE).decode()).encode()
    wanted[VECTORS / "canonical.json"] = vectors.canonical_json().encode()
    wanted[VECTORS / "signatures.json"] = vectors.signatures_json().encode()
    wanted[VECTORS / "cases.json"] = version_cases.cases_json().encode()
    for name, content in version_vectors.files().items():
        wanted[VECTORS / "version" / name] = content
    old = {path: content for path, content in wanted.items() if _content(path) != content}
    return formulas.stale() | old


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
