"""What bots say is read by the standard library alone, as strictly as by a library for it."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperdrift.errors import BadInput
from hyperdrift.mqtt.messages import (
    BotPresence,
    Message,
    PredictionMade,
    SwapAck,
    SwapOrder,
    TradeReport,
    decode,
    encode,
    json_object,
)

text = st.text(st.characters(codec="utf-8"), max_size=20)
number = st.floats(allow_nan=False, allow_infinity=False)
ms = st.integers(-(2**53), 2**53)
share = st.floats(0, 1)
KINDS: tuple[type[Message], ...] = (SwapOrder, SwapAck, BotPresence, PredictionMade, TradeReport)
MESSAGES = st.one_of(
    st.builds(SwapOrder, sha256=st.dictionaries(text, text, max_size=3), issued_ms=ms),
    st.builds(SwapAck, model_id=text, load_ms=number, bot_id=text),
    st.builds(BotPresence, bot_id=text),
    st.builds(
        PredictionMade,
        t=ms,
        p=st.tuples(share, share, share),
        features=st.none() | st.lists(st.none() | number, max_size=5).map(tuple),
    ),
    st.builds(TradeReport, opened_ms=ms, closed_ms=ms),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)


@given(MESSAGES)
def test_what_is_written_is_read_back(message: Message) -> None:
    if any(isinstance(v, float) and not math.isfinite(v) for v in vars(message).values()):
        return  # null, which no reader takes for a number
    assert decode(encode(message), type(message)) == message


@given(st.sampled_from(KINDS), st.dictionaries(text, JSON, max_size=3), MESSAGES, st.data())
def test_whatever_comes_is_a_message_or_bad_input(
    kind: type[Message], more: dict[str, Any], message: Message, data: st.DataObject
) -> None:
    document = json.loads(encode(message)) | more
    if document and data.draw(st.booleans()):
        document[data.draw(st.sampled_from(sorted(document)))] = data.draw(JSON)
    try:
        read = decode(json.dumps(document).encode(), kind)
    except BadInput:
        return
    assert isinstance(read, kind)
    assert decode(encode(read), kind) == read


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_bad_input(payload: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(BadInput):
            decode(payload, kind)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"online": true, "bot_id": "\\ud800"}',
        b'{"online": true, "bot_id": "\xff"}',
        b'{"online": 1, "bot_id": "b"}',
        b'{"online": null, "bot_id": "b"}',
        b'{"online": true}',
        b'"online"',
        b"",
    ],
)
def test_each_kind_of_garbage_is_one_error(payload: bytes) -> None:
    with pytest.raises(BadInput):
        decode(payload, BotPresence)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" + 400 * "0", "true", '"1"'])
def test_numbers_that_are_none_are_refused(value: str) -> None:
    prediction = f'{{"t": 1, "model_id": "m", "p": [0.1, 0.2, {value}]}}'
    with pytest.raises(BadInput):
        decode(prediction.encode(), PredictionMade)


@given(MESSAGES)
def test_a_library_for_it_writes_what_is_read_here(message: Message) -> None:
    try:
        mine = decode(msgspec.json.encode(message), type(message))
    except BadInput:
        assert b"null" in msgspec.json.encode(message)
    else:
        assert encode(mine) == encode(message)


def test_an_object_is_what_a_signature_is_checked_over() -> None:
    assert json_object(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    with pytest.raises(BadInput, match="must be an object"):
        json_object(b"[]")


def test_numpys_numbers_and_nan_can_be_said() -> None:
    import numpy as np

    message = {"t": np.int64(5), "p": (np.float64(0.5), math.nan)}
    assert encode(message) == b'{"t":5,"p":[0.5,null]}'
