"""How the child of a job is started on a worker."""

import subprocess
from pathlib import Path

from daemon.fleet import on_worker


def test_when_memory_runs_out_the_kernel_ends_the_child_and_not_its_worker(tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text("print(open('/proc/self/oom_score_adj').read())")
    job = {"nice": 0, "memory_mib": 0, "module": "tells", "arguments": []}
    there = {**on_worker.environment(), "PYTHONPATH": str(tmp_path)}
    command = on_worker._command(tmp_path, job)
    told = subprocess.run(command, env=there, capture_output=True, text=True, check=True)
    assert int(told.stdout) == 800
