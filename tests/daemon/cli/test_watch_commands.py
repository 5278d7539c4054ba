"""What the commands that show things do as processes: they end cleanly when asked."""

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.text import Text

from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName
from tests.daemon.admin.top.states import T0, slot_state
from tests.daemon.brokers import Embedded, connection, until

END = b"\x1b[?25h\x1b[?1049l"
"""What gives the terminal back."""
COMMAND = (sys.executable, "-c", "import sys; from daemon.cli import main; sys.exit(main())")


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
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_status_that_is_interrupted_prints_no_document(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = tmp_path / "h.toml"
        broker = f"mqtt://127.0.0.1:{deaf.getsockname()[1]}"
        config.write_text(f'[daemon]\ndata_dir = "{tmp_path}"\n[mqtt]\nbroker = "{broker}"\n')
        process = subprocess.Popen(
            [*COMMAND, "status", "--json", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with deaf.accept()[0]:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "")


class Top:
    """`hyperdrift top` on a pseudo-terminal of 24 lines of 80 cells."""

    def __init__(self, config: Path) -> None:
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        # Where these are set, they are the size, whatever the terminal says.
        environ = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [*COMMAND, "top", "--config", str(config)],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environ | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        self.theirs, self.drawn = theirs, b""
        asyncio.get_running_loop().add_reader(self.fd, self._read)

    def _read(self) -> None:
        self.drawn += os.read(self.fd, 65_536)

    def screen(self) -> str:
        """Return what stands on the screen."""
        last = self.drawn.rpartition(b"\x1b[H")[2].decode(errors="replace")
        return Text.from_ansi(last.replace("\r", "")).plain

    async def shows(self, words: str, width: int = 80) -> None:
        """Wait until the screen has these words, and no line is wider."""
        async with asyncio.timeout(60):
            while words not in self.screen() or max(map(len, self.screen().splitlines())) > width:
                assert self.process.poll() is None, self.process.communicate()
                await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Wait for its end; check that the terminal is as it was; return the exit code."""
        _, err = await asyncio.to_thread(self.process.communicate, timeout=120)
        await until(lambda: self.drawn.endswith(END))  # the kernel may hand it on later
        assert termios.tcgetattr(self.theirs) == self.before
        assert err == b""
        asyncio.get_running_loop().remove_reader(self.fd)
        for each in (self.fd, self.theirs):
            os.close(each)
        return self.process.returncode


async def test_top_follows_the_daemon_and_gives_the_terminal_back(tmp_path: Path) -> None:
    broker = Embedded(tmp_path)
    await broker.start()
    config = tmp_path / "h.toml"
    mqtt = f'[mqtt]\nbroker = "{broker.url}"\n'
    config.write_text(f'[daemon]\ndata_dir = "{tmp_path}/data"\n{mqtt}')
    try:
        async with connection(broker.url) as bus:
            status = {"state": "online", "version": "1.2.3", "slots": ["BTC-5m", "ETH-5m"]}
            bus.publish("hyperdrift/status", status, retain=True)
            for slot in ("BTC-5m", "ETH-5m"):
                bus.publish(f"hyperdrift/{slot}/state", slot_state(), retain=True)
            await bus.flush()
            top, other = Top(config), Top(config)
            await top.shows("  ETH-5m serving")
            bus.publish("hyperdrift/ETH-5m/state", slot_state(trouble="it is away"), retain=True)
            await top.shows("! ETH-5m serving")
            os.write(top.fd, b"\r")
            await top.shows("what happened")
            event = {"kind": "drift", "at_ms": T0, "text": "the moon is full"}
            bus.publish("hyperdrift/ETH-5m/event", event)
            await top.shows("The moon is full.")
            fcntl.ioctl(top.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
            os.kill(top.process.pid, signal.SIGWINCH)
            os.write(top.fd, b"\x1b")
            await top.shows("BTC-5m serving", width=60)
            os.write(top.fd, b"q")
            assert await top.ended() == 0
            await other.shows("ETH-5m")
            other.process.terminate()
            assert await other.ended() == 0
    finally:
        await broker.stop()
