from typing import Literal

import pytest

from daemon.core.outside_text import QUOTED_CHARS, decode_json, printable
from hyperdrift.errors import BadInput

DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'"\xff"', "not UTF-8"),
        (DEEP, "nested too deep"),
        (DEEP[:10_000], "nested too deep"),
        (b'{"a": ', "truncated"),
        (b'"\\ud800\\u0041"', "surrogate"),
        (b"9" * 10_000, "out of range"),
        (b"", "truncated"),
    ],
)
def test_whatever_is_wrong_with_a_text_is_one_error(text: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        decode_json(text)


def test_an_error_quotes_a_little_of_a_long_value_and_no_control_character() -> None:

    with pytest.raises(BadInput) as caught:
        decode_json(b'"' + b"\\u001b[2J" * 10_000 + b'"', Literal["A", "B"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= QUOTED_CHARS + 3


def test_a_quotation_is_short_and_printable_and_leaves_plain_text_alone() -> None:
    assert printable("Ünïcode 世界, 5 €") == "Ünïcode 世界, 5 €"
    assert printable(b"\x1b[31mred\n\x00\xff") == "\\x1b[31mred\\n\\x00\ufffd"
    assert printable("\ud800") == "\\ud800"
    assert printable("x" * 201) == "x" * 200 + "..."
    assert printable(b"\xe4\xb8\x96" * 10_000, 5) == "世世世世世..."
    assert printable("\x1b" * 100, 40) == "\\x1b" * 10 + "..."
