"""SIGKILL at random moments; `python -m benchmarks.kills` does the same two hundred times."""

from pathlib import Path

from benchmarks.kills import survive


async def test_killed_while_bars_stream_in_the_daemon_loses_none_and_doubles_none(
    tmp_path: Path,
) -> None:
    report = await survive(kills=16, seed=1, speed=1500.0, folder=tmp_path)
    assert report.sound, report
    assert report.while_streaming == 8
    assert report.bars > 2 * report.while_streaming
