"""The demo as a new user runs it: a whole cycle, and an end that leaves nothing behind."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.system.browser import missing
from tests.system.watched_demo import CYCLE_S, check_cycle, left_behind, leftovers, with_folder

DEMO = (sys.executable, "-m", "daemon.cli", "demo")


@pytest.mark.skipif(not missing(), reason="test_page.py watches the same demo in a browser")
async def test_the_demo_ends_with_a_swap_that_drift_or_a_command_caused(tmp_path: Path) -> None:
    with (tmp_path / "story.txt").open("wb") as story:
        demo = await asyncio.create_subprocess_exec(
            *(*DEMO, "--until", "swap", "--timeout", str(CYCLE_S), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=story,
            env=with_folder(tmp_path),
        )
        output, _ = await demo.communicate()
    told = (tmp_path / "story.txt").read_text()
    assert demo.returncode == 0, told
    summary = json.loads(output)
    check_cycle(summary)
    assert not left_behind(tmp_path)
    assert "took over" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_demo_that_is_stopped_says_how_far_it_came_and_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    demo = await asyncio.create_subprocess_exec(
        *DEMO, stdout=asyncio.subprocess.PIPE, env=with_folder(tmp_path)
    )
    assert demo.stdout is not None
    async with asyncio.timeout(240):
        while b"bars" not in (await demo.stdout.readline()).split()[:1]:
            pass
        demo.send_signal(number)
        rest = await demo.stdout.read()
        await demo.wait()
    assert demo.returncode == 0
    assert "interrupted" in rest.decode()
    assert not left_behind(tmp_path)


async def test_ctrl_c_twice_leaves_no_daemon_and_no_bot_either(tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        *DEMO, stdout=asyncio.subprocess.PIPE, env=with_folder(tmp_path)
    )
    assert demo.stdout is not None
    async with asyncio.timeout(240):
        while not any("daemon.demo.bot" in words for words in leftovers(tmp_path)):
            await asyncio.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        await asyncio.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        await demo.stdout.read()
        await demo.wait()
    assert not left_behind(tmp_path, "daemon.demo.bot", "daemon.cli run")


async def test_a_timeout_ends_with_1_and_says_how_far_it_came() -> None:
    demo = await asyncio.create_subprocess_exec(
        *(*DEMO, "--until", "swap", "--timeout", "5", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await demo.communicate()
    assert demo.returncode == 1
    assert json.loads(output)["ended"] == "timeout"
    assert "time is up, no such swap yet; phase" in said.decode()


async def test_a_recording_that_is_too_short_is_one_clear_line(tmp_path: Path) -> None:
    short = tmp_path / "DOGE-5m.csv"
    rows = "".join(f"{1_750_000_200_000 + 300_000 * i},1,1,1,1,1\n" for i in range(100))
    short.write_text("t,open,high,low,close,volume\n" + rows)
    demo = await asyncio.create_subprocess_exec(
        *(*DEMO, "--data", str(short)), stderr=asyncio.subprocess.PIPE
    )
    _, said = await demo.communicate()
    assert demo.returncode == 2
    assert said.decode() == f"hyperdrift: {short} has 100 bars; the demo needs 7200\n"
