"""Change a real text as faulty programs, bad lines and hostile people do.

The changes are textual, so the same ones fit JSON, TOML and CSV. A token is a number, a quoted
text or a word such as `true`.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Final

Span = tuple[int, int]

_TOKEN: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null|nan|inf)\b'
)
_MEMBER: Final = re.compile(rb'("(?:[^"\\]|\\.)*"\s*:\s*)("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)')
_LONGEST: Final = 60_000
_DEEP: Final = 10_000

ODD: Final = (
    *(b"0", b"-1", b"1e300", b"-1e300", b"1e999", b"5e-324", b"1e15", b"0.5", b"1e-13"),
    *(str(2**exponent).encode() for exponent in (31, 53, 62, 63, 64, 70, 2000)),
    *(b"-9223372036854775809", b"9" * 10_000, b'"' + b"9" * 10_000 + b'"', b'"1e300"'),
    *(b"true", b"false", b"null", b"NaN", b"-Infinity", b'"NaN"', b'"inf"', b'"null"'),
    *(b'""', b'"\\u0000"', b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u001b[2J"', b'"\xff\xfe"'),
    *(b"[]", b"{}", b"[[]]", b'{"":0}', b"[null]", b'"' + b"x" * 5000 + b'"', b"'", b"\x00"),
    *(b"/", b'"../../etc/passwd"', b'"a/+#b"', "\u202e\u00e9".encode(), b'"2026-13-45"'),
)
"""Values that no field should have."""


def mutate(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """Return `text` with one to three changes, each drawn from `random`.

    Args:
        random: Decides; the same state gives the same result.
        text: A real input.
        others: Other real inputs, whose tokens may take the place of tokens of `text`.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
        change = random.choices(_CHANGES, _WEIGHTS)[0]
        text = change(random, text, others)[:_LONGEST]
    return text


def _odd_value(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    return _replaced(random, text, random.choice(ODD))


def _swap(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    spans = _tokens(other)
    if not spans:
        return text
    start, end = random.choice(spans)
    return _replaced(random, text, other[start:end])


def _retype(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    spans = _tokens(text)
    if not spans:
        return text
    start, end = random.choice(spans)
    token = text[start:end]
    forms = [b"[%b]" % token, b'{"a":%b}' % token, token.strip(b'"'), b'"%b"' % token.strip(b'"')]
    return text[:start] + random.choice(forms) + text[end:]


def _nest(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    depth = random.choice((60, 900, 990, _DEEP))
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * depth + (b"1" + closing * depth) * random.randrange(2)
    return _replaced(random, text, deep) if random.random() < 0.8 else deep


def _repeat(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    """Write a member of an object a second time, with another value."""
    members = list(_MEMBER.finditer(text))
    if not members:
        return text
    found = random.choice(members)
    value = random.choice((found[2], random.choice(ODD)))
    return text[: found.end()] + b"," + found[1] + value + text[found.end() :]


def _flip(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(text)
    for _unused in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    return text[: random.randrange(len(text) + 1)]


def _cut(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(text) + 1)
    return text[:start] + text[start + random.choice((1, 2, 8, 64)) :]


def _double(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(text) + 1)
    end = start + random.choice((1, 8, 64, len(text)))
    return text[:end] + text[start:]


def _insert(random: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    at = random.randrange(len(text) + 1)
    odd = random.choice((b"\xff", b"\x00", b"\xed\xa0\x80", b"\n", b"\r", b'"', b"[", b"}", b","))
    return text[:at] + odd + text[at:]


_Change = Callable[[Random, bytes, Sequence[bytes]], bytes]
_WEIGHED: Final[tuple[tuple[_Change, int], ...]] = (
    (_odd_value, 30), (_swap, 15), (_retype, 10), (_nest, 1), (_repeat, 6), (_flip, 12),
    (_truncate, 5), (_cut, 8), (_double, 5), (_insert, 8),
)  # fmt: skip
_CHANGES, _WEIGHTS = tuple(zip(*_WEIGHED, strict=True))


def _replaced(random: Random, text: bytes, value: bytes) -> bytes:
    """Put a value in the place of one token."""
    spans = _tokens(text)
    if not spans:
        return value
    start, end = random.choice(spans)
    return text[:start] + value + text[end:]


@lru_cache(maxsize=512)
def _tokens(text: bytes) -> tuple[Span, ...]:
    return tuple(found.span() for found in _TOKEN.finditer(text))
