"""No more jobs run at once than there are cores, and one alone has them all."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.backtest.warm_jobs import WarmJobs
from daemon.core.errors import UnfitBars
from daemon.core.subprocesses import Limits

SCRIPT = """
import json, os, pathlib, sys, time
assert sys.argv[1:] == ["-m", "retrain", "--serve"]
for line in sys.stdin:
    asked = json.loads(line)
    folder = pathlib.Path(asked["folder"])
    shared = folder.parent
    (shared / f"began-{folder.name}").touch()
    print(json.dumps({"event": "progress", "step": "fit", "percent": 1}), flush=True)
    while not (shared / f"go-{folder.name}").exists(): time.sleep(0.005)
    print(json.dumps({"event": "finished", "model_id": str(os.getpid()), "passed": False,
        "refused_by": [], "manifest": "candidate/m.json"}), flush=True)
"""
FRAME = {"close": np.arange(3.0)}


async def test_jobs_wait_for_a_core_and_share_two_children(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(SCRIPT)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
    python.chmod(0o755)
    root, told = tmp_path / "jobs", asyncio.Queue[str]()
    jobs = WarmJobs(root, Limits(str(python), nice=0, timeout_s=60, memory_mib=0), cores=2)

    def start(name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(
            jobs.retrain(name, {"slot": "BTC-5m"}, FRAME, lambda _: told.put_nowait(name))
        )

    async with asyncio.timeout(60):
        tasks = {"a": start("a")}
        assert await told.get() == "a"
        tasks |= {"b": start("b")}
        assert await told.get() == "b"
        tasks |= {"c": start("c")}
        while not (root / "c" / "job.json").exists():
            await asyncio.wait([tasks["a"]], timeout=0.01)
        assert not (root / "began-c").exists(), "no core is free"
        for name in "abc":
            (root / f"go-{name}").touch()
        done = {name: (await task).model_id for name, task in tasks.items()}
    assert done["c"] in {done["a"], done["b"]}
    threads = [json.loads((root / name / "job.json").read_text())["jobs"] for name in "abc"]
    assert threads == [2, 1, 1]
    for child in jobs._idle:
        await child.end()


async def test_bars_that_allow_no_calibration_are_unfit_for_any_policy(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"slot": "BTC-5m"}))
    t = np.arange(600) * 300_000
    frame = {"t": t, **dict.fromkeys(("open", "high", "low", "close"), np.full(600, 100.0))}
    frame |= {name: np.zeros(600) for name in ("volume", "funding", "s_top", "s_bot")}
    np.savez(folder / "bars.npz", **frame)  # type: ignore[arg-type]
    with pytest.raises(UnfitBars, match="drift calibration: "):
        await WarmJobs(tmp_path, Limits(), cores=1).calibrate("a", 1.0)
