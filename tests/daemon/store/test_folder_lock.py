"""Two daemons on one data folder: the second is refused, and a dead one is no second."""

import asyncio
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import app
from daemon.config.schema import Config, DaemonSection
from daemon.core.errors import AnotherDaemon, DataFolderBusy
from daemon.store.folder_lock import folder_lock
from hyperdrift.clock import SystemClock
from tests.daemon.powerless import without_roots_power

HOLD = """
import sys, time
from pathlib import Path
from daemon.store.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_told_of_with_the_command_that_works(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from daemon.store.folder_lock import folder_lock\n"
        "sys.argv = ['hyperdrift', 'backfill', '--coin', 'BTC']\n"
        f"try: folder_lock(pathlib.Path({str(tmp_path)!r})).__enter__()\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    tmp_path.chmod(0o711)
    os.chown(tmp_path, 65534, -1)
    name = pwd.getpwuid(65534).pw_name
    said = without_roots_power(code)
    how = f"it is {name}'s, so do this as that user: `sudo -u {name} hyperdrift backfill ...`"
    assert said == f"ConfigError daemon.data_dir {tmp_path}: Permission denied; {how}"
    (tmp_path / "lock").touch(mode=0o600)
    os.chown(tmp_path / "lock", 65534, -1)
    said = without_roots_power(code)
    assert said == f"StoreUnavailable {tmp_path} cannot be written (Permission denied): {how}"
