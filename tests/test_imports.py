"""The order of packages and rooms: an import points to an earlier one, never back, in no circle."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IO = {
    "aiohttp", "aiomqtt", "asyncio", "http", "logging", "multiprocessing", "os",
    "pathlib", "random", "shutil", "socket", "sqlite3", "structlog", "subprocess", "tempfile",
    "threading", "time", "urllib", "watchdog", "websockets",
}  # fmt: skip
MAY_NOT = {"monitor": IO | {"daemon", "retrain"}, "retrain": IO | {"daemon", "monitor"}}
# The modules of retrain/ whose work is I/O: the files of a version, their proof, the bars of a job,
# the scripts that other interpreters run, the child process, and the one that runs a bot's class.
WITH_IO = {
    *("retrain/artifact.py", "retrain/computing.py", "retrain/__main__.py"),
    *("retrain/forms/interpreters.py", "retrain/forms/to_onnx.py", "retrain/forms/job_bars.py"),
    *("retrain/forms/joblib_selftest.py", "retrain/forms/onnx_selftest.py"),
}

PACKAGES = {
    "client/hyperdrift": "hyperdrift",
    **{name: name for name in ("retrain", "monitor", "daemon", "benchmarks")},
}
# A module may import from its own room and from those before it.
ROOMS = (
    *("core", "mqtt", "config", "hyperliquid", "store", "market_data", "ingest", "cohorts"),
    "registry",
    "trade_files",
    *("training", "fleet", "scoring", "runtime", "journal", "backtest", "service", "notify", "web"),
    *("admin", "demo"),
    *("wiring", "people_parts", "slot_changes", "app", "cli"),
)
MOST_MODULES = 20


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports, also inside its functions."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_NOT)
def test_pure_packages_import_neither_io_nor_each_other(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    for path in modules:
        name = path.relative_to(ROOT).as_posix()
        forbidden = MAY_NOT[package] - (IO if name in WITH_IO else set())
        wrong = imports(path) & forbidden
        assert not wrong, f"{name} imports {wrong}: do it in daemon/ and pass the value in"


def test_the_daemon_imports_nothing_from_tests_or_benchmarks() -> None:
    for path in sorted((ROOT / "daemon").rglob("*.py")):
        assert not imports(path) & {"tests", "benchmarks"}, path


def test_the_client_imports_nothing_that_a_bot_has_not() -> None:
    ours = {"daemon", "retrain", "monitor", "benchmarks", "tests"}
    heavy = {"aiohttp", "msgspec", "pandas", "pyarrow", "river", "scipy", "structlog", "typer"}
    for path in sorted((ROOT / "client").rglob("*.py")):
        assert not imports(path) & (ours | heavy), path


def test_what_runs_in_a_bots_interpreter_imports_nothing_newer_than_python_3_10() -> None:
    newer = {
        *("datetime.UTC", "enum.StrEnum", "enum.verify", "hashlib.file_digest", "tomllib"),
        *("asyncio.TaskGroup", "asyncio.timeout", "contextlib.chdir", "itertools.batched"),
        *(f"typing.{name}" for name in ("Self", "Never", "LiteralString", "assert_never")),
        *(f"typing.{name}" for name in ("override", "Required", "NotRequired", "reveal_type")),
    }
    for package in ("client", "retrain"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(), feature_version=(3, 10))
            found = {
                f"{node.module}.{alias.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            found |= {
                ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            }
            assert not (found | imports(path)) & newer, path


def test_the_rule_sees_an_import_inside_a_function(tmp_path: Path) -> None:
    module = tmp_path / "sneaky.py"
    module.write_text("def f():\n    import socket\n    return socket\n")
    assert imports(module) & IO == {"socket"}


def modules() -> dict[str, Path]:
    """Return every module of ours by its dotted name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in inner if part != "__init__")))
            found[name] = path
    return found


def edges(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that one imports, also inside its functions."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted = [one if one in known else node.module for one in whole]
        else:
            continue
        yield from (one for one in wanted if one in known and one != name)


def room(name: str) -> str | None:
    """Return the room of a module of the daemon; None for other packages."""
    package, _, inner = name.partition(".")
    return inner.split(".")[0] if package == "daemon" and inner else None


def test_rooms_import_from_earlier_rooms_only() -> None:
    known = modules()
    rooms = {found for name in known if (found := room(name))}
    assert rooms <= set(ROOMS), f"give {rooms - set(ROOMS)} a place in ROOMS"
    back = [
        f"{name} imports {target}"
        for name, path in known.items()
        if (of := room(name))
        for target in edges(name, path, known)
        if (to := room(target)) and ROOMS.index(to) > ROOMS.index(of)
    ]
    assert not back, "move what is shared into the earlier room"


def test_no_import_goes_in_a_circle() -> None:
    known = modules()
    graph = {name: set(edges(name, path, known)) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        pytest.fail(" -> ".join(e.args[1]))


def test_no_folder_has_more_modules_than_a_reader_can_look_over() -> None:
    folders: dict[str, int] = defaultdict(int)
    for path in modules().values():
        folders[path.parent.relative_to(ROOT).as_posix()] += 1
    too_many = {f: n for f, n in folders.items() if n > MOST_MODULES}
    assert not too_many, "make a room of some of them"


def test_every_public_class_has_a_name_of_its_own() -> None:
    where = defaultdict(list)
    own = {n: path for n, path in modules().items() if not n.startswith("hyperdrift.formulas")}
    for name, path in own.items():  # without the copies of modules of `retrain`
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name)
    twice = {name: found for name, found in where.items() if len(found) > 1}
    assert not twice, "rename all but one"
