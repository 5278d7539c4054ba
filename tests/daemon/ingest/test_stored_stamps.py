"""Bars that are stamped by their close are noticed by the bars that the store has."""

from pathlib import Path

import pytest

from daemon.core.bars import Bar, Provenance
from daemon.ingest.importer import import_files
from daemon.ingest.preview import preview
from daemon.ingest.tables.reading import Wanted
from daemon.store.data_folder import open_store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from tests.daemon.ingest.tables.shapes import NOW, ROWS, STEP, csv, written

BTC = SlotName("BTC", "5m")


def test_bars_of_one_interval_earlier_are_refused_until_a_person_says_the_stamp(tmp_path) -> None:
    late = written(tmp_path / "late.csv", csv(row=lambda r: [r[0] + STEP, *r[1:]]))
    with open_store(tmp_path) as store:
        store.put_bars(BTC, [Bar(*row) for row in ROWS], Provenance.REST)
        with pytest.raises(BadInput, match="say --stamp close"):
            list(import_files(store, BTC, [late], now_ms=NOW))
        said = Wanted(stamp="close")
        (report,) = import_files(store, BTC, [late], now_ms=NOW, wanted=said)
        assert "0 bars added, 24 already there" in str(report)
    with pytest.raises(BadInput, match="one interval earlier"):
        list(preview(tmp_path, BTC, [late], "bars", now_ms=NOW, wanted=Wanted()))
    (seen,) = preview(tmp_path, BTC, [late], "bars", now_ms=NOW, wanted=said)
    assert (seen.overlap.equal, seen.first_ms, seen.count) == (24, ROWS[0][0], 24)


def test_a_market_that_stands_still_is_no_sign_of_the_close(tmp_path: Path) -> None:
    still = [(row[0], 5.0, 5.0, 5.0, 5.0, 0.0) for row in ROWS]
    with open_store(tmp_path) as store:
        store.put_bars(BTC, [Bar(*row) for row in still], Provenance.REST)
        file = written(tmp_path / "still.csv", csv(still))
        (report,) = import_files(store, BTC, [file], now_ms=NOW)
    assert "0 bars added, 24 already there" in str(report)
