"""A child process may do anything: finish, fail, hang, be killed, print garbage."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.errors import RetrainFailedError
from daemon.jobs import Jobs, Limits

FRAME = {"close": np.arange(3.0)}
PREAMBLE = "import json, os, signal, sys, time, pathlib\nfolder = pathlib.Path(sys.argv[-1])\n"
FINISHED = (
    "print(json.dumps({'event': 'finished', 'model_id': 'm', 'passed': True, 'refused_by': [],"
    " 'manifest': 'candidate/manifest_m.json'}))\n"
)


@pytest.fixture
def jobs(tmp_path: Path) -> Any:
    """Return a maker of jobs whose child runs a script instead of the real retrain."""

    def make(script: str, timeout_s: float = 20.0) -> Jobs:
        child = tmp_path / "python"
        (tmp_path / "child.py").write_text(PREAMBLE + script)
        child.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
        child.chmod(0o755)
        return Jobs(tmp_path / "jobs", Limits(str(child), nice=5, timeout_s=timeout_s))

    return make


async def run(jobs: Jobs, lines: list[dict[str, Any]] | None = None) -> Any:
    seen = [] if lines is None else lines
    return await jobs.retrain("job-1", {"slot": "BTC-5m"}, FRAME, seen.append)


async def test_the_child_gets_its_job_and_its_bars_and_its_lines_arrive(jobs: Any) -> None:
    lines: list[dict[str, Any]] = []
    outcome = await run(
        jobs(
            "import zipfile\n"
            "assert json.loads((folder / 'job.json').read_text()) == {'slot': 'BTC-5m'}\n"
            "assert zipfile.is_zipfile(folder / 'bars.npz')\n"
            "assert os.nice(0) >= 5\n"
            "path = os.environ['PYTHONPATH'].split(os.pathsep)[0]\n"
            "assert os.listdir(path) == ['retrain'], 'it must not see our libraries'\n"
            "assert os.path.exists(path + '/retrain/__main__.py')\n"
            "print(json.dumps({'event': 'progress', 'step': 'fit', 'percent': 50}))\n"
            "print(json.dumps({'event': 'gate', 'name': 'loads', 'passed': True}))\n" + FINISHED
        ),
        lines,
    )
    assert [line["event"] for line in lines] == ["progress", "gate", "finished"]
    assert (outcome.model_id, outcome.passed) == ("m", True)
    assert outcome.manifest == outcome.folder / "manifest_m.json"
    assert outcome.gates == ({"name": "loads", "passed": True},)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("print(json.dumps({'event': 'failed', 'error': 'too few bars'})); sys.exit(2)", "too few"),
        ("raise RuntimeError('no such column')", "ended with 1: RuntimeError: no such column"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL; .* when memory runs out"),
        ("sys.exit(0)", "ended with 0: without a word"),
        (FINISHED + "sys.exit(1)", "ended with 1"),
    ],
)
async def test_an_end_without_a_candidate_says_why(jobs: Any, script: str, why: str) -> None:
    with pytest.raises(RetrainFailedError, match=why):
        await run(jobs(script))


async def test_garbage_on_the_output_is_passed_over(jobs: Any) -> None:
    script = "print('hello'); sys.stdout.buffer.write(b'\\xff\\x00\\n'); print('[1]')\n"
    assert (await run(jobs(script + "sys.stdout.flush()\n" + FINISHED))).passed


async def test_a_line_without_an_end_does_not_fill_the_memory(jobs: Any) -> None:
    script = "sys.stdout.write('x' * 5_000_000 + '\\n')\n"
    assert (await run(jobs(script + FINISHED))).passed


async def test_a_child_that_hangs_is_stopped_with_its_own_children(
    jobs: Any, tmp_path: Path
) -> None:
    script = "pid = os.fork()\nif pid: (folder / 'pid').write_text(str(pid))\ntime.sleep(600)"
    with pytest.raises(RetrainFailedError, match="stopped after 2 s"):
        await run(jobs(script, timeout_s=2.0))
    pid = int((tmp_path / "jobs" / "job-1" / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        await asyncio.sleep(0.02)
    pytest.fail("the child's child outlived it")


async def test_what_a_killed_daemon_left_is_cleared(jobs: Any, tmp_path: Path) -> None:
    made = jobs(FINISHED)
    await run(made)
    made.clear()
    assert not (tmp_path / "jobs").exists()
