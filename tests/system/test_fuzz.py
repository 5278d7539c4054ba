"""A short run of the fuzzer, and proof that it finds what it looks for."""

from pathlib import Path
from random import Random

from benchmarks.fuzz import campaign
from benchmarks.fuzz.campaign import FuzzedDecoder
from benchmarks.fuzz.mutations import mutate
from benchmarks.fuzz.workers import every_decoder
from hyperdrift.errors import BadInput

TRIES, SEED = 2500, 7
REAL = b'{"name":"BTC","size":12.5,"list":[1,2,3]}'
IMPORTS = {"5m.csv", "5m.json", "5m.jsonl", "funding.csv", "funding.json"}
"""Readers of tables: a second each, and held by tests of their own."""


def test_no_text_from_outside_ends_in_an_error_that_is_not_ours(tmp_path: Path) -> None:
    decoders = [one for one in every_decoder(tmp_path) if one.name not in IMPORTS]
    others = [text for decoder in decoders for text in decoder.inputs]
    crashes, accepted, refused = [], 0, 0
    for decoder, tries in zip(decoders, campaign.shares(decoders, TRIES).values(), strict=True):
        tally, found = campaign.fuzz(decoder, others, tries, SEED)
        crashes += found
        accepted, refused = accepted + tally.accepted, refused + tally.refused
    assert [str(crash) for crash in crashes] == []
    assert accepted > TRIES / 10  # else the texts would be too damaged to get anywhere
    assert refused > TRIES / 10


def test_a_decoder_that_crashes_is_found_with_a_short_text() -> None:
    def fragile(text: bytes) -> bool:
        if b"\x00" in text:
            raise KeyError("a field")
        if b"null" in text:
            raise BadInput("no name")
        return True

    decoder = FuzzedDecoder("fragile", (REAL,), fragile)
    tally, (crash,) = campaign.fuzz(decoder, [REAL], 2000, SEED)
    assert crash.shortest == b"\x00"
    assert crash.error.startswith("KeyError")
    assert tally.crashed > 1
    assert tally.refused > 1
    assert tally.tries == 2000


def test_the_same_seed_gives_the_same_texts_and_few_of_them_are_alike() -> None:
    def texts() -> list[bytes]:
        random = Random(SEED)
        return [mutate(random, REAL, [REAL]) for _ in range(500)]

    assert texts() == texts()
    assert len(set(texts())) > 300
    assert {b"\\ud800", b"1e300", b"[" * 60} <= {
        odd for odd in (b"\\ud800", b"1e300", b"[" * 60) if any(odd in one for one in texts())
    }
