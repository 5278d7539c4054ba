"""Every task has an owner: a task that nobody owns dies without a line."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("client", "daemon", "monitor", "retrain")
STARTERS = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
# Functions that start a task outside a group, and who is told of its end.
ALLOWED = {
    "in_own_task": "it awaits the task",
    "within": "it awaits the task",
    "run_together": "it awaits the tasks",
    "ModelSlot._begin": "a callback logs an end that nobody asked for; `stop` ends it",
    "BlockingModelSlot.start": "it waits for the result",
    "BlockingModelSlot.stop": "it waits for the result",
    "WarmChild._begin": "the tail of stderr, awaited where the process ended",
    "Conversation._begin": "the tail of stderr, awaited where the process ended",
    "ReplayExchange.start": "`stop` raises what went wrong",
    "ReplayExchange._serve_socket": "it ends the task with the client's connection",
    "BrokerServer._converse": "it ends the task with the client's connection",
    "EmbeddedBroker._start": "it is awaited where the process ended",
    "_until_terminated": "it awaits the task",
}


def groups(tree: ast.AST) -> set[str]:
    """Return how a module spells its task groups: `tasks`, `self._tasks`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem) and node.optional_vars is not None:
            kind, name = ast.unparse(node.context_expr), ast.unparse(node.optional_vars)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            kind, name = f"{ast.unparse(node.annotation)}()", node.arg
        elif isinstance(node, ast.Assign):
            found |= groups_assigned(node.targets[0], node.value)
            continue
        else:
            continue
        if kind == "asyncio.TaskGroup()":
            found.add(name)
    return found


def groups_assigned(target: ast.expr, value: ast.expr) -> set[str]:
    """Return the names that get a task group, also of `a, b = ..., asyncio.TaskGroup()`."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name for pair in pairs for name in groups_assigned(*pair)}
    return {ast.unparse(target)} if ast.unparse(value) == "asyncio.TaskGroup()" else set()


def lone_tasks(tree: ast.AST, owned: set[str], where: str = "") -> Iterator[tuple[str, int]]:
    """Yield the function and line of each task that is started outside a group."""
    for node in ast.iter_child_nodes(tree):
        inner = where
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{where}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call):
            called, _, name = ast.unparse(node.func).rpartition(".")
            if name in STARTERS and called not in owned:
                yield where, node.lineno
        yield from lone_tasks(node, owned, inner)


def test_every_task_is_in_a_group_or_its_end_is_told() -> None:
    used, wrong = set(), []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for where, line in lone_tasks(tree, groups(tree)):
                used.add(where)
                if where not in ALLOWED:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} in {where}")
    assert not wrong, "start it in a task group, or beside a block with `running`"
    assert used == set(ALLOWED), "remove what is not there any more"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("async def f():\n asyncio.create_task(g())", ["f"]),
        ("class A:\n async def f(self):\n  self.t = asyncio.create_task(g())", ["A.f"]),
        ("async def f():\n asyncio.get_running_loop().create_task(g())", ["f"]),
        ("async def f():\n async with asyncio.TaskGroup() as t:\n  t.create_task(g())", []),
        ("def f(t: asyncio.TaskGroup):\n t.create_task(g())", []),
        ("a, t = 1, asyncio.TaskGroup()\ndef f():\n t.create_task(g())", []),
        ("a, t = asyncio.TaskGroup(), 1\ndef f():\n t.create_task(g())", ["f"]),
    ],
)
def test_the_rule_tells_a_lone_task_from_one_in_a_group(code: str, found: list[str]) -> None:
    tree = ast.parse(code)
    assert [where for where, _ in lone_tasks(tree, groups(tree))] == found
