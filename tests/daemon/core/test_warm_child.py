"""One child runs job after job; what goes wrong in one job harms no other."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.core.errors import RetrainFailedError
from daemon.core.subprocesses import Limits, Surroundings
from daemon.core.warm_child import WarmChild

SCRIPT = """
import json, os, sys, time
def tell(**line): print(json.dumps(line), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    tell(event="progress", step="fit", percent=50)
    match asked["do"]:
        case "fail": tell(event="failed", error="too few bars", kind="TooFewBars")
        case "die": print("no more memory", file=sys.stderr); os._exit(3)
        case "hang": time.sleep(600)
        case _: tell(event="finished", pid=os.getpid(), of=asked["of"])
"""


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[WarmChild]:
    (tmp_path / "child.py").write_text(SCRIPT)
    made = WarmChild(
        (str(tmp_path / "child.py"),),
        Limits(sys.executable, nice=0, timeout_s=120, memory_mib=0),
        Surroundings(os.environ, tmp_path),
    )
    yield made
    await made.end()


async def run(child: WarmChild, do: str = "", of: int = 0) -> dict[str, Any]:
    return await child.run({"do": do, "of": of}, lambda _: None)


async def test_jobs_run_one_after_the_other_in_one_process(child: WarmChild) -> None:
    lines: list[dict[str, Any]] = []
    first = await child.run({"do": "", "of": 1}, lines.append)
    assert [line["event"] for line in lines] == ["progress", "finished"]
    second = await run(child, of=2)
    assert (first["of"], second["of"]) == (1, 2)
    assert first["pid"] == second["pid"]


async def test_a_job_that_fails_says_why_and_the_next_has_a_new_process(child: WarmChild) -> None:
    before = (await run(child))["pid"]
    with pytest.raises(RetrainFailedError, match="too few bars"):
        await run(child, "fail")
    assert (await run(child))["pid"] != before


async def test_a_child_that_dies_in_a_job_or_between_two_is_replaced(child: WarmChild) -> None:
    with pytest.raises(RetrainFailedError, match="ended with 3 in the step 'fit': no more memory"):
        await run(child, "die")
    pid = (await run(child))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert child._process is not None
    await child._process.wait()
    assert (await run(child))["pid"] != pid


async def test_a_cancelled_job_leaves_no_process(child: WarmChild) -> None:
    told = asyncio.Event()
    job = asyncio.create_task(child.run({"do": "hang"}, lambda _: told.set()))
    await told.wait()
    assert child._process is not None
    process = child._process
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert process.returncode == -signal.SIGKILL


async def test_a_job_that_hangs_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import sys; sys.stdin.read()")
    limits = Limits(sys.executable, nice=0, timeout_s=0.2, memory_mib=0)
    hangs = WarmChild((str(tmp_path / "child.py"),), limits, Surroundings(os.environ, tmp_path))
    with pytest.raises(RetrainFailedError, match=r"stopped after 0 s \(retrain.timeout_s\)"):
        await hangs.run(json.loads("{}"), lambda _: None)
