"""The arrows of the house: daemon -> retrain, daemon -> monitor, never back, never across."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IO = {
    "aiohttp", "aiomqtt", "asyncio", "http", "logging", "multiprocessing", "os",
    "pathlib", "random", "shutil", "socket", "sqlite3", "structlog", "subprocess", "tempfile",
    "threading", "time", "urllib", "watchdog", "websockets",
}  # fmt: skip
MAY_NOT = {"monitor": IO | {"daemon", "retrain"}, "retrain": IO | {"daemon", "monitor"}}
# The modules of retrain/ whose work is I/O: the files of a version, the script that a fresh
# interpreter runs to prove them, the child process, and the one that runs a bot's class.
WITH_IO = {
    *("retrain/artifact.py", "retrain/selftest.py", "retrain/__main__.py"),
    "retrain/computing.py",
}


def imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports, also inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
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


def test_the_rule_sees_an_import_inside_a_function(tmp_path: Path) -> None:
    module = tmp_path / "sneaky.py"
    module.write_text("def f():\n    import socket\n    return socket\n")
    assert imports(module) & IO == {"socket"}
