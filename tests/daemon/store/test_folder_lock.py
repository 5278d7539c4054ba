"""Two daemons on one data folder: the second is refused, and a dead one is no second."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import app
from daemon.config.schema import Config, DaemonSection
from daemon.core.errors import AnotherDaemon, DataFolderBusy
from daemon.store.folder_lock import folder_lock
from hyperdrift.clock import SystemClock

HOLD = """
import sys, time
from pathlib import Path
from daemon.store.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_daemon_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    config = Config(daemon=DaemonSection(data_dir=str(tmp_path)))
    with subprocess.Popen((sys.executable, "-c", HOLD, tmp_path), stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        refusal = rf"another hyperdrift \(process {first.pid}\) runs on .*; stop it or set"
        with pytest.raises(DataFolderBusy, match=refusal), folder_lock(tmp_path):
            pass
        # Not 2, after which a service is not started again: an operator's command soon is done.
        with pytest.raises(AnotherDaemon, match=refusal) as refused:
            asyncio.run(app.run(config, SystemClock()))
        assert refused.value.exit_code == 1
        first.kill()
        first.wait()
        with folder_lock(tmp_path):
            pass
