"""What the commands that show things do as processes: they end cleanly when asked."""

import signal
import subprocess
import sys
from pathlib import Path

from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName

COMMAND = (sys.executable, "-c", "import sys; from daemon.cli import main; sys.exit(main())")
T0 = 1_753_963_200_000


def test_a_followed_journal_shows_a_new_entry_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    config = tmp_path / "h.toml"
    config.write_text(f'[daemon]\ndata_dir = "{tmp_path}"\n')
    with open_store(tmp_path) as store:
        store.append_journal(SlotName("BTC", "5m"), T0, "drift", {"text": "the first"})
        process = subprocess.Popen(
            [*COMMAND, "journal", "--follow", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline().endswith("The first.\n")
        store.append_journal(SlotName("BTC", "5m"), T0, "drift", {"text": "the second"})
        assert process.stdout.readline().endswith("The second.\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
