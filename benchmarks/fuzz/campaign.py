"""Give mutated inputs to decoders, count what became of them, and shrink what crashes one."""

import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import structlog

from benchmarks.fuzz.mutations import mutate
from daemon.core import logs
from hyperdrift.errors import HyperdriftError
from monitor.errors import MonitorError
from retrain.errors import RetrainError

REFUSALS: Final = (HyperdriftError, RetrainError, MonitorError)
"""The errors that a decoder may raise."""

_SHRINKING_S: Final = 20.0


@dataclass(frozen=True)
class FuzzedDecoder:
    """One reader of text from outside.

    Attributes:
        name: Names it in the report.
        inputs: Real inputs that it accepts.
        read: Reads one text. It returns whether the text was accepted, and raises one of
            `REFUSALS` or returns False if it was refused.
        share: Its part of the tries, relative to the others; less for a slow one.
    """

    name: str
    inputs: tuple[bytes, ...]
    read: Callable[[bytes], bool]
    share: float = 1.0


@dataclass
class FuzzTally:
    """What became of the texts that one decoder got."""

    accepted: int = 0
    refused: int = 0
    crashed: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def tries(self) -> int:
        """How many texts the decoder got."""
        return self.accepted + self.refused + self.crashed


@dataclass(frozen=True)
class FuzzCrash:
    """A text that ended in an error of another kind; `shortest` is the shrunk text."""

    decoder: str
    seed: int
    error: str
    shortest: bytes

    def __str__(self) -> str:
        text = f"{self.shortest[:400]!r}" + ("..." if len(self.shortest) > 400 else "")
        return f"{self.decoder} (seed {self.seed}): {self.error}\n  with {text}"


def shares(decoders: Sequence[FuzzedDecoder], tries: int) -> dict[str, int]:
    """Share `tries` out among decoders; each gets one at least."""
    whole = sum(decoder.share for decoder in decoders)
    return {d.name: max(1, round(tries * d.share / whole)) for d in decoders}


def fuzz(
    decoder: FuzzedDecoder, others: Sequence[bytes], tries: int, seed: int
) -> tuple[FuzzTally, list[FuzzCrash]]:
    """Give a decoder so many mutated texts; return the counts and one crash of each kind.

    Args:
        decoder: The decoder.
        others: Real inputs of all decoders, which lend their tokens.
        tries: How many texts.
        seed: The same seed gives the same texts.
    """
    random = Random(seed + zlib.crc32(decoder.name.encode()))
    tally, crashes = FuzzTally(), []
    began = time.perf_counter()
    with checked_lines(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for text in decoder.inputs:
            if not decoder.read(text):
                msg = f"{decoder.name} refuses its own real input {text[:200]!r}"
                raise RuntimeError(msg)
        for _ in range(tries):
            text = mutate(random, random.choice(decoder.inputs), others)
            if crash := _tried(decoder, text, tally, seed):
                crashes.append(crash)
    tally.seconds = time.perf_counter() - began
    return tally, crashes


def _tried(decoder: FuzzedDecoder, text: bytes, tally: FuzzTally, seed: int) -> FuzzCrash | None:
    """Give a decoder one text and count the outcome; return the first crash of a kind."""
    try:
        accepted = decoder.read(text)
    except REFUSALS:
        accepted = False
    except Exception as e:  # noqa: BLE001 - whatever it is, it is what we look for
        tally.crashed += 1
        kind, error = type(e).__name__, f"{type(e).__name__}: {str(e)[:200]!r}"
        tally.kinds[kind] += 1
        is_new = tally.kinds[kind] == 1
        shortest = shrunk(decoder, text, kind) if is_new else b""
        return FuzzCrash(decoder.name, seed, error, shortest) if is_new else None
    tally.accepted += accepted
    tally.refused += not accepted
    return None


def failure(decoder: FuzzedDecoder, text: bytes) -> str | None:
    """Return the kind and the text of the error that is no refusal; None if there is none."""
    try:
        decoder.read(text)
    except REFUSALS:
        return None
    except Exception as e:  # noqa: BLE001 - whatever it is, it is what we look for
        return f"{type(e).__name__}: {str(e)[:200]!r}"
    return None


def shrunk(decoder: FuzzedDecoder, text: bytes, kind: str) -> bytes:
    """Return the shortest text that was found to end in an error of the same kind."""
    size, until = len(text) // 2, time.monotonic() + _SHRINKING_S
    while size:
        start = 0
        while start < len(text):
            if time.monotonic() > until:
                return text
            shorter = text[:start] + text[start + size :]
            if (failure(decoder, shorter) or "").partition(":")[0] == kind:
                text = shorter
            else:
                start += size
        size //= 2
    return text


@contextmanager
def checked_lines() -> Iterator[None]:
    """Render every log line, and fail if one would steer a terminal or is too long."""
    before = structlog.get_config()

    def check(_: Any, __: str, line: Any) -> Any:
        for value in line.values():
            if isinstance(value, str):
                assert value.replace("\n", "").isprintable(), value
                assert len(value) <= 2 * logs.LONGEST_TEXT, len(value)
        return line

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(
        processors=[logs.shown, check, structlog.processors.JSONRenderer(), drop],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
