"""Log lines suit whoever reads them, and a storm of them is bounded."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from daemon.core.logs import StormLimit, _renderer
from tests.fakes import FakeClock

ROOT = Path(__file__).parents[3]
BEGIN = """
import os, sys, logging, structlog
from daemon.core import logs
end = os.fstat(2)
os.environ["JOURNAL_STREAM"] = sys.argv[1].format(end=end)
logs.configure()
"""
WRITE = 'structlog.get_logger().warning("feed.stream_lost", why="gone")'
TRACE = """
try:
    {}["a fault"]
except KeyError:
    structlog.get_logger().exception("bus.handler_failed")
"""
LIBRARY = """
from hyperdrift.mqtt import connection
logging.getLogger("hyperdrift.mqtt.library").warning("failed to receive on socket")
logging.getLogger("asyncio").error("Task exception was never retrieved")
"""
REFUSED = """
from daemon import cli
from daemon import app
from hyperdrift.errors import ConfigError
async def run(*_):
    raise ERROR
app.run, sys.argv = run, ["hyperdrift", "run"]
cli.main()
"""
JOURNAL = "{end.st_dev}:{end.st_ino}"


def written(stream: str, code: str = WRITE, *, on_terminal: bool = False) -> str:
    master, slave = os.openpty()
    done = subprocess.Popen(
        (sys.executable, "-c", BEGIN + code, stream),
        stderr=slave if on_terminal else subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(slave)
    _, piped = done.communicate()
    said = os.read(master, 4096) if on_terminal else piped
    os.close(master)
    return said.decode()


def test_under_journald_a_line_is_json_with_the_priority_in_front() -> None:
    said = written(JOURNAL)
    assert said.startswith("<4>{")
    line = json.loads(said.removeprefix("<4>"))
    assert (line["event"], line["level"], line["why"]) == ("feed.stream_lost", "warning", "gone")


def test_text_of_others_cannot_steer_a_terminal_or_fill_the_log() -> None:
    hostile = 'structlog.get_logger().warning("a.b", why="\\x1b[2J\\n\\x00" + "x" * 10_000)'
    said = written("nobody", hostile, on_terminal=True)
    assert "\x1b[2J" not in said
    assert "\\x1b[2J" in said
    line = json.loads(written("nobody", hostile))
    assert line["why"].startswith("\\x1b[2J\n\\x00xxx")
    assert len(line["why"]) < 4100


def test_what_failed_is_in_the_line_with_the_place() -> None:
    line = json.loads(written(JOURNAL, TRACE).removeprefix("<3>"))
    assert "KeyError: 'a fault'" in line["exception"]
    assert 'File "<string>", line' in line["exception"]


def test_what_libraries_log_is_a_line_like_ours_and_what_the_bus_says_is_not_said_twice() -> None:
    said = written(JOURNAL, LIBRARY)
    assert said.count("\n") == 1
    line = json.loads(said.removeprefix("<3>"))
    assert (line["event"], line["text"]) == (
        "library.asyncio",
        "Task exception was never retrieved",
    )


def test_under_journald_what_ends_the_daemon_is_one_urgent_line() -> None:
    said = written(JOURNAL, REFUSED.replace("ERROR", "ConfigError('mqtt.port is taken')"))
    assert said == "<3>hyperdrift: mqtt.port is taken\n"
    said = written(JOURNAL, REFUSED.replace("ERROR", "PermissionError(13, 'no', '/x/keys')"))
    assert said.startswith("<3>hyperdrift: /x/keys: no; it has to be ")
    said = written(JOURNAL, REFUSED.replace("ERROR", "RuntimeError('a bug')"))
    assert said.count("\n") == 1
    line = json.loads(said.removeprefix("<2>"))
    assert (line["event"], "RuntimeError: a bug" in line["exception"]) == ("daemon.crashed", True)


def test_in_a_pipe_or_file_it_is_json_alone_also_where_the_variable_was_inherited() -> None:
    assert json.loads(written("1:1"))["event"] == "feed.stream_lost"


def test_on_a_terminal_it_is_for_people() -> None:
    said = written("1:1", on_terminal=True)
    assert "feed.stream_lost" in said
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)


def test_of_a_storm_fifty_lines_pass_then_one_a_second_which_says_what_is_missing() -> None:
    clock = FakeClock()
    limit, passed = StormLimit(clock), list[dict[str, object]]()
    logger = structlog.get_logger()
    for n in range(10_000):
        clock.ms += 10  # a hundred seconds in all
        try:
            passed.append(dict(limit(logger, "warning", {"event": "storm", "n": n})))
        except structlog.DropEvent:
            continue
    assert 140 <= len(passed) <= 152
    assert [line["n"] for line in passed[:50]] == list(range(50))
    left_out = [line["left_out"] for line in passed if "left_out" in line]
    assert all(isinstance(n, int) and 97 <= n <= 100 for n in left_out[1:])


def test_a_storm_of_one_slot_hides_no_other_line_and_nothing_critical() -> None:
    limit, logger = StormLimit(FakeClock()), structlog.get_logger()
    for _ in range(50):
        limit(logger, "info", {"event": "slot.event", "slot": "BTC-5m", "kind": "decision"})
    with pytest.raises(structlog.DropEvent):
        limit(logger, "info", {"event": "slot.event", "slot": "BTC-5m", "kind": "decision"})
    for other in ({"slot": "ETH-5m", "kind": "decision"}, {"slot": "BTC-5m", "kind": "retrain"}):
        assert limit(logger, "info", {"event": "slot.event", **other}) == {
            "event": "slot.event",
            **other,
        }
    worst = {"event": "slot.event", "slot": "BTC-5m", "kind": "decision", "level": "critical"}
    assert dict(limit(logger, "critical", dict(worst)))["left_out"] == 1


def test_a_terminal_gets_the_text_of_an_error_without_what_it_would_obey() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    render = _renderer(Terminal(), {})
    error = ValueError("\x1b]0;title\x07\u202e")
    line = render(None, "error", {"event": "x", "level": "error", "exc_info": error})
    assert "\\x1b]0;title\\x07\\u202e" in str(line)
    assert "\x1b]" not in str(line)
