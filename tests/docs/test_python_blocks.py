"""Every block of Python in README and docs is run: against a real broker and a real version.

Those of `HOWTOS` are run by `tests/client/test_howto.py`, which also looks at the answers.
"""

import ast
import asyncio
import inspect
import types
from pathlib import Path
from typing import Any

import pytest

from tests.client import test_howto
from tests.client.test_howto import ROW, Host, T, host  # noqa: F401 - the fixture
from tests.daemon.secured import certify
from tests.docs.blocks import Block, blocks

HOWTOS = ("bot-asyncio.md", "bot-blocking.md", "bot-plain-loader.md", "bot-watcher.md")
ALL = [block for block in blocks() if block.language == "python"]
PYTHON = [block for block in ALL if Path(block.page).name not in HOWTOS]


def here(code: str, machine: Host) -> str:
    """Put this test's addresses, folders and files in the place of a page's."""
    (machine.root / "mqtt-password").write_text("0" * 64)
    certify(machine.root)
    code = machine.here(code).replace("/var/lib/my-bot", str(machine.root / "cache"))
    return code.replace("/etc/my-bot", str(machine.root))


def run(block: Block, machine: Host) -> tuple[dict[str, Any], Any]:
    names: dict[str, Any] = {"features": ROW, "t": T}
    tree = compile(here(block.code, machine), block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = types.FunctionType(tree, names)()
    return names, result if inspect.iscoroutine(result) else None


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
async def test_a_block_runs_as_it_stands_there(block: Block, host: Host) -> None:  # noqa: F811
    names, rest = await asyncio.to_thread(run, block, host)
    if rest is not None:
        await rest
        if "slot.stop()" not in block.code:
            await names["slot"].stop()
    if "predict(" in block.code:
        assert names["prediction"].decision in {0, 1, 2}
    assert set(names) - {"features", "t", "__builtins__"}


def test_every_other_block_is_run_beside_the_tests_of_the_client() -> None:
    source = inspect.getsource(test_howto)
    assert {Path(block.page).name for block in ALL if block not in PYTHON} == set(HOWTOS)
    assert [name for name in HOWTOS if f'"{name}"' not in source] == []
    assert {"README.md", "docs/tutorial/live-bot.md"} <= {block.page for block in PYTHON}
