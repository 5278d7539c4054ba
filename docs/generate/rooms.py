"""The picture and the table of the rooms, from the imports and from what each says of itself."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Final

from docs.generate.markdown import code, table
from docs.generate.source import modules

BEGIN: Final = "<!-- rooms: written by `make reference` -->"
END: Final = "<!-- end of rooms -->"
_ROOM: Final = "/__init__.py"
_FOLDERS: Final = {"client": "client/hyperdrift", "monitor": "monitor", "retrain": "retrain"}
_PACKAGES: Final = {"hyperdrift": "client", "monitor": "monitor", "retrain": "retrain"}


def drawn(text: str) -> str:
    """Return a page with the picture between its marks as the imports are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_picture()}\n{_table()}\n{END}{after}"


def room_of(module: str) -> str:
    """Return the room of a module's dotted name; empty if it is none of ours.

    The modules beside the rooms of `daemon/` compose it: they are the room `app`.
    """
    package, _, rest = module.partition(".")
    if package != "daemon":
        return _PACKAGES.get(package, "")
    room = rest.partition(".")[0]
    return "app" if room in {"app", "people_parts", "slot_changes", "wiring"} else room


def arrows() -> set[tuple[str, str]]:
    """Return which room imports which other."""
    found = set()
    for path, tree in modules():
        room = room_of(path.removesuffix(".py").removeprefix("client/").replace("/", "."))
        found |= {(room, room_of(name)) for name in _imported(tree)}
    return {(room, other) for room, other in found if room and other and room != other}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _picture() -> str:
    lines = [f"    {room} --> {other}" for room, other in sorted(_direct(arrows()))]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def _table() -> str:
    """Return each room with the first line that it says of itself, after those that it needs."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for room, other in sorted(arrows()):
        order.add(room, other)
    said = {path: (ast.get_docstring(tree) or "").partition("\n")[0] for path, tree in modules()}
    rows = []
    for room in order.static_order():
        folder = _FOLDERS.get(room, f"daemon/{room}")
        paths = [path for path in said if path.startswith(f"{folder}/") and path.endswith(_ROOM)]
        if room == "app":
            paths = [
                f"daemon/{name}.py" for name in ("wiring", "people_parts", "slot_changes", "app")
            ]
        rows += [(code(path.removesuffix("__init__.py")), said[path]) for path in paths]
    return table(("room", "what it is"), rows)


def _direct(all_arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out each arrow that a longer way through other rooms implies; keep any circle."""
    after: dict[str, set[str]] = {}
    for room, other in all_arrows:
        after.setdefault(room, set()).add(other)

    def reach(room: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        for other in after.get(room, set()) - seen:
            seen = reach(other, seen | {other})
        return seen

    return {
        (room, other)
        for room, other in all_arrows
        if room in reach(other) or not any(other in reach(by) for by in after[room] - {other})
    }
