"""What a child prints is not trusted: a line of a known form is read, any other is none."""

import json

import pytest

from daemon.core.subprocesses import read_line

GATE = {"event": "gate", "name": "budget", "passed": True, "value": float("nan")}


def test_a_line_of_a_known_form_is_read_with_the_nan_that_a_child_may_write() -> None:
    line = read_line(json.dumps(GATE).encode())
    assert line is not None
    assert line["name"] == "budget"
    assert read_line(b'{"event":"note","text":"\\u00e9"}') == {"event": "note", "text": "é"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"event":"gate"}',
        b'{"event":"progress","step":"twin","percent":1e999}',
        b'{"event":' * 10_000,
        b'{"event":"note","text":"\\ud800"}',
        b'{"event":"note","text":"\xed\xa0\x80"}',
        b'{"event":"note","text":"\xff"}',
        b'{"event":"finished","rows":%b}' % (b"9" * 10_000),
    ],
)
def test_any_other_line_is_none(raw: bytes) -> None:
    assert read_line(raw) is None
