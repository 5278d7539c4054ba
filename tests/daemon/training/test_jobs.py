"""A child process may do anything: finish, fail, hang, be killed, print garbage."""

import asyncio
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.config.schema import Config, DaemonSection, NotifySection
from daemon.config.secrets import secret_paths
from daemon.core.confined import landlock_version
from daemon.core.errors import NoInterpreter, RetrainFailedError
from daemon.training.jobs import Jobs, Limits
from tests.retrain.planted import planted

FRAME = {"close": np.arange(3.0)}
PREAMBLE = "import json, os, signal, sys, time, pathlib\nfolder = pathlib.Path(sys.argv[-1])\n"
FINISHED = (
    "print(json.dumps({'event': 'finished', 'model_id': 'm', 'passed': True, 'refused_by': [],"
    " 'manifest': 'candidate/manifest_m.json'}))\n"
)


@pytest.fixture(autouse=True)
def no_path_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what is on our own path from the children: one plants modules wherever it may."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def jobs(tmp_path: Path) -> Any:
    """Return a maker of jobs whose child runs a script instead of the real retrain."""

    def make(script: str, timeout_s: float = 120.0, memory_mib: int = 0) -> Jobs:
        child = tmp_path / "python"
        (tmp_path / "child.py").write_text(PREAMBLE + script)
        child.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
        child.chmod(0o755)
        limits = Limits(str(child), nice=5, timeout_s=timeout_s, memory_mib=memory_mib)
        return Jobs(tmp_path / "jobs", limits)

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
        ("sys.exit(0)", "ended with 0: without a word; is .* a Python"),
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
    with pytest.raises(RetrainFailedError, match="stopped after 6 s"):
        await run(jobs(script, timeout_s=6.0))
    pid = int((tmp_path / "jobs" / "job-1" / "pid").read_text())
    for _ in range(1000):
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


def in_step(step: str) -> str:
    line = {"event": "progress", "step": step, "percent": 75}
    return f"print(json.dumps({line}), flush=True)\n"


async def test_a_child_that_takes_more_memory_than_it_may_says_so(jobs: Any) -> None:
    made = jobs(in_step("refit") + "b = bytearray(2_000_000_000)\n", memory_mib=256)
    told = "ran out of its 256 MiB of memory in the step 'refit'; raise retrain.memory_mib"
    with pytest.raises(RetrainFailedError, match=told):
        await run(made)


async def test_a_child_within_its_memory_runs_and_is_the_first_to_go_when_the_machine_has_none(
    jobs: Any,
) -> None:
    script = (
        "import resource\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA) == (2**28, 2**28)\n"
        "assert int(pathlib.Path('/proc/self/oom_score_adj').read_text()) == 800\n"
        "b = bytearray(2**26)\n"
    )
    assert (await run(jobs(script + FINISHED, memory_mib=256))).passed


@pytest.mark.skipif(shutil.which("ionice") is None, reason="util-linux is not installed")
async def test_a_child_waits_for_the_disk_until_nobody_else_wants_it(jobs: Any) -> None:
    script = "import subprocess\nassert b'idle' in subprocess.check_output(['ionice'])\n"
    assert (await run(jobs(script + FINISHED))).passed


async def test_a_folder_that_cannot_be_written_is_named(jobs: Any, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("in the way")
    with pytest.raises(
        RetrainFailedError, match=r"jobs/job-1 cannot be written \(Not a dir.*rights"
    ):
        await run(jobs(FINISHED))


async def test_a_disk_that_takes_no_more_is_named_and_nothing_half_written_stays(
    jobs: Any, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(RetrainFailedError, match=r"job-1 cannot be written \(File too large"):
            await jobs(FINISHED).retrain("job-1", {}, {"close": np.arange(1_000.0)}, print)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "jobs" / "job-1").exists()


async def test_the_step_that_it_was_stopped_in_is_named(jobs: Any) -> None:
    with pytest.raises(RetrainFailedError, match="stopped in the step 'champion' after 6 s"):
        await run(jobs(in_step("champion") + "time.sleep(600)", timeout_s=6.0))


async def test_a_worker_that_outlives_the_child_and_holds_its_output_holds_nothing_up(
    jobs: Any,
) -> None:
    script = "if not os.fork(): time.sleep(600)\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(RetrainFailedError, match="killed by SIGKILL"):
        await run(jobs(script, timeout_s=60.0))


async def test_a_cancelled_job_takes_its_child_with_it(jobs: Any, tmp_path: Path) -> None:
    begun = asyncio.Event()
    made = jobs(
        "(folder / 'pid').write_text(str(os.getpid()))\n" + in_step("judge") + "time.sleep(600)"
    )
    job = asyncio.create_task(
        made.retrain("job-1", {"slot": "BTC-5m"}, FRAME, lambda _line: begun.set())
    )
    await begun.wait()
    pid = int((tmp_path / "jobs" / "job-1" / "pid").read_text())
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "line",
    [
        {"event": "progress", "step": "judge"},
        {"event": "progress", "step": "judge", "percent": "half"},
        {"event": "progress", "step": 5, "percent": 1e9},
        {"event": "gate", "name": "loads"},
    ],
)
async def test_a_line_of_the_wrong_form_reaches_nobody(jobs: Any, line: dict[str, Any]) -> None:
    seen: list[dict[str, Any]] = []
    await run(jobs(f"print(json.dumps({line}))\n" + FINISHED), seen)
    assert [told["event"] for told in seen] == ["finished"]


@pytest.mark.parametrize("missing", ["manifest", "model_id", "passed", "refused_by"])
async def test_a_verdict_without_one_of_its_fields_is_none(jobs: Any, missing: str) -> None:
    with pytest.raises(RetrainFailedError, match=f"not a verdict .*{missing}"):
        await run(jobs(FINISHED.replace(f"'{missing}'", "'something'")))


@pytest.mark.parametrize("python", ["/nowhere/python", "/etc/passwd"])
async def test_an_interpreter_that_cannot_be_started_is_named(tmp_path: Path, python: str) -> None:
    told = f"{python} is no program that can be started; correct retrain.python"
    with pytest.raises(NoInterpreter, match=told) as caught:
        await run(Jobs(tmp_path / "jobs", Limits(python)))
    assert caught.value.exit_code == 2, "a person corrects the configuration"


@pytest.mark.parametrize("mib", [160, 285])  # imports do not fit; they do, and OpenBLAS does not
async def test_a_real_retrain_that_runs_out_of_memory_says_so_and_leaves_nothing(
    tmp_path: Path, mib: int
) -> None:
    """Not by the fake child: numpy and threads give up in words of their own, or never."""
    made = Jobs(tmp_path / "jobs", Limits(nice=0, timeout_s=600, memory_mib=mib))
    spec = {"slot": "BTC-5m", "interval": "5m", "horizon_bars": 6, "threshold": 0.005, "at_ms": 1}
    with pytest.raises(RetrainFailedError, match=f"ran out of its {mib} MiB"):
        await made.retrain("job-1", spec, dict(planted(3_000, seed=1)), lambda _line: None)
    assert not list((tmp_path / "jobs").rglob("manifest*"))


PLANT = """
places = [folder, pathlib.Path.cwd(), *folder.parents[:2], *map(pathlib.Path, sys.path[:2])]
for place in places:
    for name in ('numpy.py', 'json.py', 'sklearn.py', 'retrain.py'):
        try:
            (place / name).write_text('raise SystemExit(9)')
        except OSError:
            pass
"""


async def test_what_a_child_plants_is_imported_by_no_later_one(jobs: Any) -> None:
    await run(jobs(PLANT + FINISHED))
    checks = (
        "import numpy, sklearn, retrain.features\n"
        "assert not [p for p in sys.path if p and pathlib.Path(p, 'numpy.py').exists()], sys.path\n"
        "assert not os.listdir('.') or os.listdir('.') == ['retrain']\n"
    )
    await run(jobs("sys.path.append(os.environ['PYTHONPATH'])\n" + checks + FINISHED))


async def test_a_child_reads_no_secret_and_writes_its_own_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not landlock_version():
        pytest.skip("this kernel has no Landlock")
    data = tmp_path / "data"
    (data / "keys").mkdir(parents=True)
    (data / "keys" / "hyperdrift.key").write_text("secret")
    urls = tmp_path / "urls"
    urls.write_text("tgram://secret/1")
    monkeypatch.setenv("HYPERDRIFT_NOTIFY__URLS", '["tgram://secret/1"]')
    child = tmp_path / "python"
    script = (
        "import tempfile\n"
        f"data = pathlib.Path({str(data)!r})\n"
        "def refused(act):\n"
        "    try: act()\n"
        "    except PermissionError: return True\n"
        "assert refused(lambda: (data / 'keys/hyperdrift.key').read_text())\n"
        f"assert refused(lambda: pathlib.Path({str(urls)!r}).read_text())\n"
        "assert 'tgram' not in str(os.environ)\n"
        "assert refused(lambda: (data / 'hyperdrift.sqlite').write_text('x'))\n"
        "path = pathlib.Path(os.environ['PYTHONPATH'])\n"
        "assert refused(lambda: (path / 'numpy.py').write_text('x'))\n"
        "(folder / 'made').write_text('x')\n"
        "tempfile.TemporaryFile().close()\n"
    )
    (tmp_path / "child.py").write_text(PREAMBLE + script + FINISHED)
    child.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
    child.chmod(0o755)
    config = Config(
        daemon=DaemonSection(data_dir=str(data)), notify=NotifySection(urls_file=str(urls))
    )
    made = Jobs(data / "jobs", Limits(str(child), nice=0, timeout_s=120), secret_paths(config))
    assert (await run(made)).model_id == "m"
    assert not list((data / "jobs.children").iterdir())
