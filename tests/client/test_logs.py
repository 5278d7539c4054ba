"""Logging never ends what it tells of."""

import io
import logging
import subprocess
import sys

import pytest

from hyperdrift.logs import EVENT, FIELDS, EventLogger


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("this handler is somebody else's")


def test_a_line_is_the_event_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    EventLogger("hyperdrift.test").warning("slot.refused", why="100 % wrong", n=1)
    (record,) = caplog.records
    assert record.getMessage() == "slot.refused why=100 % wrong n=1"
    assert getattr(record, EVENT) == "slot.refused"
    assert getattr(record, FIELDS) == {"why": "100 % wrong", "n": 1}


def test_a_failure_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    EventLogger("hyperdrift.test").failure("bus.handler_failed", KeyError("x"), topic="t")
    assert "KeyError: 'x'" in caplog.text


def test_a_handler_that_fails_stops_nothing() -> None:
    logger, handler = logging.getLogger("hyperdrift.test"), Broken()
    logger.addHandler(handler)
    try:
        EventLogger("hyperdrift.test").warning("slot.refused")
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("ruin", ["sys.stderr.close()", "sys.stderr = None", "os.close(2)"])
def test_a_closed_stderr_stops_nothing(ruin: str) -> None:
    code = (
        f"import os, sys\nfrom hyperdrift.logs import EventLogger\n{ruin}\n"
        "EventLogger('hyperdrift.test').warning('slot.refused', why='x')\nprint('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "goes on\n"


def test_a_full_disk_under_stderr_stops_nothing() -> None:
    code = (
        "from hyperdrift.logs import EventLogger\n"
        "for _ in range(3): EventLogger('hyperdrift.test').warning('slot.refused', why='x')\n"
        "print('goes on')"
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, check=True, text=True
        )
    assert done.stdout == "goes on\n"


def test_nothing_is_formatted_into_what_the_bot_reads(capsys: pytest.CaptureFixture[str]) -> None:
    EventLogger("hyperdrift.test").info("slot.swapped")
    assert capsys.readouterr().out == ""
    assert isinstance(sys.stdout, io.TextIOBase)


def test_half_a_character_is_logged_as_bytes_that_can_be_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    EventLogger("hyperdrift.test").warning("bus.bad_topic", why="a\ud800b")
    (record,) = caplog.records
    assert record.getMessage().encode() == b"bus.bad_topic why=a\\ud800b"
