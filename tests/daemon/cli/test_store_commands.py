"""The commands of the bar store, as a person calls them, against a real exchange."""

import asyncio
import contextlib
import json
import os
import pwd
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon import cli
from daemon.core.bars import Bar, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.ingest.store_verdict import verify
from daemon.store.bar_columns import BarColumns
from daemon.store.data_folder import STORE_NAME, open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.properties import record_venue, venue_of
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from tests.daemon.powerless import without_roots_power

RECORDING = generate(6200, 300_000, 11, start_ms=1_750_000_200_000, change_at=None)
SLOT = SlotName(RECORDING.coin, "5m")
BEGIN, STEP = 6100, 300_000
SERVED = 4999  # of its 5000 bars one is forming
NAMED = ("--coin", SLOT.coin, "--interval", "5m")


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    """An exchange on a thread of its own, at bar `BEGIN` of the recording."""
    ready, stop = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        start_ms = int(RECORDING.t[BEGIN]) + 30_000
        async with ReplayExchange(
            [RECORDING], SystemClock(), speed=1, start_ms=start_ms
        ) as exchange:
            found["url"] = exchange.url
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield found["url"]
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join()


@dataclass
class Shell:
    folder: Path
    call: Callable[..., tuple[int, str, str]]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def report(self, *words: str, code: int = 0) -> Any:
        ended, out, err = self.call(*words, "--json")
        assert (ended, err) == (code, "")
        return json.loads(out)

    def put(self, bars: list[Bar], provenance: Provenance = Provenance.IMPORT) -> None:
        with open_store(self.data_dir) as store:
            store.put_bars(SLOT, bars, provenance)


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys) -> Callable[..., Shell]:
    monkeypatch.setenv("COLUMNS", "200")

    def made(url: str = "http://127.0.0.1:9") -> Shell:
        config = tmp_path / "hyperdrift.toml"
        config.write_text(
            f'[daemon]\ndata_dir = "{tmp_path / "data"}"\n[hyperliquid]\nrest_url = "{url}"\n'
        )

        def call(*words: str) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "argv", ["hyperdrift", *words, "--config", str(config)])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                cli.main()
            said = capsys.readouterr()
            return int(ended.value.code or 0), said.out, said.err

        return Shell(tmp_path, call)

    return made


def recorded(first: int, last: int) -> list[Bar]:
    names = ("t", "open", "high", "low", "close", "volume", "n")
    columns = [getattr(RECORDING, name)[first:last].tolist() for name in names]
    return [Bar(*row) for row in zip(*columns, strict=True)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write in anybody's folder")
def test_root_is_told_what_it_left_in_the_daemons_folder_however_the_command_ends(
    shell, venue
) -> None:
    s, file = shell(venue), "nothing.csv"
    assert s.call("import", file, *NAMED)[2].count("\n") == 1, "a folder of root's own is root's"
    os.chown(s.data_dir, 65534, -1)
    name = pwd.getpwuid(65534).pw_name
    for words in (("import", file), ("backfill", "--days", "0.02")):
        _, _, err = s.call(*words, *NAMED)
        assert f"holds files of root now, which its daemon cannot write: `chown -R {name} " in err
    for path in s.data_dir.iterdir():
        os.chown(path, 65534, -1)
    assert "chown" not in s.call("import", file, *NAMED)[2]


@pytest.mark.parametrize("kind", ["csv", "parquet", "lz4"])
def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path, kind: str) -> None:
    file, config = tmp_path / f"bars.{kind}", tmp_path / "hyperdrift.toml"
    file.touch(mode=0)
    config.write_text(f'[daemon]\ndata_dir = "{tmp_path / "data"}"\n')
    words = ["", "import", str(file), "--coin", "BTC", "--config", str(config)]
    said = without_roots_power(
        f"import sys; from daemon import cli; sys.argv = {words}; cli.main()"
    )
    whose = "run this with sudo, or as the user whose file it is"
    assert said == f"hyperdrift: {file}: Permission denied; {whose}"


def test_a_file_without_a_folder_is_one_line_that_names_it(shell) -> None:
    s = shell()
    s.put(recorded(0, 100))
    missing = s.folder / "missing"
    for words, says in (
        (("export", str(missing / "b.csv"), *NAMED), "b.csv cannot be written (Cannot save file"),
        (("export", ".", *NAMED), ". is none of .csv, .parquet"),
        (("backup", str(missing / "b.sqlite")), "missing is no folder: name a file in one that"),
    ):
        code, out, err = s.call("bars", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err


def test_a_backfill_brings_all_that_is_in_reach_and_names_the_gap_before_it(shell, venue) -> None:
    s = shell(venue)
    s.put(recorded(0, 100))
    filled = s.report("backfill", *NAMED)
    assert filled["added"] == SERVED
    assert filled["to_t"] == int(RECORDING.t[BEGIN - 1])
    assert filled["funding"] > 400
    (gap,) = filled["gaps"]
    reach = BEGIN - SERVED
    assert (gap["from_t"], gap["to_t"]) == (int(RECORDING.t[100]), int(RECORDING.t[reach - 1]))
    assert gap["bars"] == reach - 100
    assert "out of the venue's reach" in gap["remedy"]
    with open_store(s.data_dir, read_only=True) as store:
        held = [copy.bar for copy in store.held(SLOT, int(RECORDING.t[reach]), 2**62)]
    assert held == recorded(reach, BEGIN)
    code, out, _ = s.call("backfill", *NAMED, "--days", "1")
    assert code == 0
    assert out.startswith(f"{SLOT}: 0 bars and 0 rates added, {SERVED + 100} bars stored")


def test_a_backfill_beside_a_daemon_is_refused_in_one_line(shell, venue) -> None:
    s = shell(venue)
    with folder_lock(s.data_dir):
        for words in (["backfill"], ["import", "bars.csv"]):
            code, out, err = s.call(*words, *NAMED)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert "another hyperdrift (process" in err


def test_a_backfill_of_an_unknown_coin_or_without_a_venue_is_one_line(shell, venue) -> None:
    code, _, err = shell(venue).call("backfill", "--coin", "btcc")
    assert (code, err.count("\n")) == (2, 1)
    assert "the venue has no perp 'btcc'" in err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".json"])
def test_what_is_exported_is_imported_again_to_the_last_bit(shell, suffix: str, tmp_path) -> None:
    s = shell()
    s.put(recorded(0, 500))
    file = tmp_path / f"bars{suffix}"
    assert s.report("bars", "export", str(file), *NAMED)["bars"] == 500
    (s.data_dir / STORE_NAME).unlink()
    (done,) = s.report("import", str(file), *NAMED)["files"]
    assert (done["added"], done["left_out"]) == (500, 0)
    with open_store(s.data_dir, read_only=True) as store:
        assert [copy.bar for copy in store.held(SLOT, 0, 2**62)] == recorded(0, 500)
    assert s.report("import", str(file), *NAMED)["files"][0]["overlap"]["equal"] == 500


def test_an_export_that_cannot_be_written_leaves_nothing_and_is_one_line(shell, tmp_path) -> None:
    s = shell()
    s.put(recorded(0, 5))
    for name in ("bars.xls", "no/such/folder.csv"):
        code, _, err = s.call("bars", "export", str(tmp_path / name), *NAMED)
        assert (code, err.count("\n")) == (2, 1)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["hyperdrift.toml"]


def test_gaps_are_listed_with_their_span_and_what_helps(shell, monkeypatch) -> None:
    s = shell()
    s.put(recorded(0, 10) + recorded(14, 20))
    s.put(recorded(20, 22), Provenance.FILLED)
    s.put(recorded(22, 23), Provenance.STREAM)
    found = s.report("bars", "gaps", *NAMED)
    assert found["bars"] == 19
    rows = [
        (x["kind"], (x["from_t"] - RECORDING.t[0]) // STEP, x["bars"]) for x in found["stretches"]
    ]
    assert rows[:3] == [("missing", 10, 4), ("filled", 20, 2), ("pushed", 22, 1)]
    assert rows[3][:2] == ("behind", 23)
    code, out, _ = s.call("bars", "gaps", *NAMED)
    assert code == 0
    assert "missing   2025-06-15 16:00   2025-06-15 16:15   4" in out
    assert "hyperdrift import" in out
    assert "behind is by this host's clock; if 127.0.0.1:9 replays a recording" in out
    monkeypatch.setenv("HYPERDRIFT_HYPERLIQUID__REST_URL", "")
    assert "this host's clock" not in s.call("bars", "gaps", *NAMED)[1], "the venue has no other"


def test_verify_finds_nothing_wrong_with_what_the_venue_served(shell, venue) -> None:
    s = shell(venue)
    s.report("backfill", *NAMED, "--days", "2")
    verdict = s.report("bars", "verify", *NAMED)
    assert verdict["sound"]
    assert verdict["venue"] == {"equal": 575, "differ": 0, "largest": None, "examples": []}
    assert verdict["provenance"] == {"rest": 575}


def test_verify_lists_what_differs_from_the_venue_and_ends_with_three(shell, venue) -> None:
    s = shell(venue)
    bars = recorded(BEGIN - 50, BEGIN)
    bars[7] = msgspec.structs.replace(bars[7], high=bars[7].high * 1.5)
    s.put(bars[:20] + bars[23:])
    with contextlib.closing(sqlite3.connect(s.data_dir / STORE_NAME)) as db:
        db.execute("UPDATE bars SET low = -1 WHERE t = ?", (bars[30].t,))
        db.commit()
    verdict = s.report("bars", "verify", *NAMED, code=3)
    assert verdict["venue"]["differ"] == 2
    assert verdict["lacking"] == 3
    assert [p.split(":")[0] for p in verdict["problems"]][1:] == [
        "2 bars differ from the venue's (of unnamed)",
        "3 bars that the venue has are missing",
    ]
    assert "a price is not positive" in verdict["problems"][0]
    code, out, _ = s.call("bars", "verify", *NAMED)
    assert code == 3
    assert "45 equal the venue's, 2 differ" in out
    assert out.splitlines()[-2:] == [
        "  to mend it: hyperdrift bars forget --coin BTC --interval 5m --source unnamed",
        "  to mend it: hyperdrift backfill --coin BTC --interval 5m",
    ]


@pytest.mark.parametrize("at", [0, 3])
def test_verify_of_a_damaged_database_says_so_and_ends_with_three(shell, venue, at: int) -> None:
    s = shell(venue)
    s.put(recorded(BEGIN - 3000, BEGIN))
    file = s.data_dir / STORE_NAME
    content = bytearray(file.read_bytes())
    content[at * 8192 : at * 8192 + 8192] = b"\xa5" * 8192
    file.write_bytes(content)
    code, out, err = s.call("bars", "verify", *NAMED)
    assert (code, err) == (3, "")
    assert "damaged" in out


def test_verify_names_a_fivefold_jump_whose_it_is_and_what_undoes_it(shell) -> None:
    s, bars = shell(), recorded(0, 60)
    s.put(bars, Provenance.REST)
    wrong = [
        Bar(b.t, b.open / 20, b.high / 20, b.low / 20, b.close / 20, b.volume)
        for b in recorded(60, 90)
    ]
    with open_store(s.data_dir) as store:
        store.imports.put_bars(SLOT, BarColumns.of(wrong), "eth.csv", 1)
        verdict = verify(store, SLOT, None)
        assert [p.count("jumps from") for p in verdict.problems] == [1]
        assert "(of the venue) to" in verdict.problems[0]
        assert "(of eth.csv) at" in verdict.problems[0]
        assert verdict.document()["remedies"] == (
            "hyperdrift bars forget --coin BTC --interval 5m --source eth.csv",
        )


def test_a_bar_that_a_disk_broke_is_removed_by_the_command_of_verify(shell) -> None:
    s = shell()
    s.put(recorded(0, 10), Provenance.REST)
    with open_store(s.data_dir) as store, store.database.writing() as db:
        db.execute("UPDATE bars SET low = -1 WHERE t = ?", (int(RECORDING.t[4]),))
    with open_store(s.data_dir) as store:
        (remedy,) = set(verify(store, SLOT, None).remedies)
    assert s.call(*remedy.split()[1:])[0] == 0
    with open_store(s.data_dir) as store:
        assert (len(store.bars(SLOT)["t"]), verify(store, SLOT, None).sound) == (9, True)


def test_verify_without_a_venue_checks_what_it_can(shell) -> None:
    s = shell("http://127.0.0.1:9")
    s.put(recorded(0, 10))
    with open_store(s.data_dir, read_only=True) as store:
        verdict = verify(store, SLOT, None, "it does not answer")
    assert verdict.sound
    assert "  not compared with the venue: it does not answer" in list(verdict.lines())


def test_the_bars_of_another_venue_are_refused_until_a_person_adopts_it(shell, venue) -> None:
    s = shell("https://api.hyperliquid-testnet.xyz")
    s.put(recorded(0, 5))  # an import alone is no use of a venue
    assert s.report("bars", "venue")["before"] is None
    with open_store(s.data_dir) as store:
        record_venue(store, "mainnet")
    for words in (["backfill", *NAMED], ["bars", "verify", *NAMED]):
        code, out, err = s.call(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert "bars of mainnet, and [hyperliquid] names testnet: set another" in err
    s = shell(venue)
    assert s.call("backfill", *NAMED)[0] == 2
    s.report("bars", "venue", "--adopt")
    s.report("backfill", *NAMED, "--days", "1")
    assert s.report("bars", "venue")["before"] == venue.removeprefix("http://")


def test_a_venue_is_remembered_once_it_has_answered(shell, venue) -> None:
    s = shell(venue)
    assert s.call("backfill", "--coin", "btcc")[0] == 2  # nothing was stored
    with open_store(s.data_dir) as store:
        assert venue_of(store) is None
    s.report("backfill", *NAMED, "--days", "1")
    code, out, _ = s.call("bars", "venue")
    named = venue.removeprefix("http://")
    assert (code, out) == (0, f"the bars in {s.data_dir} are of {named}; configured is {named}\n")


def test_a_backup_is_whole_is_taken_beside_a_writer_and_never_replaces_a_file(shell) -> None:
    s = shell()
    with folder_lock(s.data_dir), open_store(s.data_dir) as store:
        store.put_bars(SLOT, recorded(0, 100), Provenance.REST)
        file = s.folder / "copy.sqlite"
        assert s.report("bars", "backup", str(file))["bytes"] == file.stat().st_size
        store.put_bars(SLOT, recorded(100, 101), Provenance.REST)
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM bars").fetchone() == (100,)
    code, _, err = s.call("bars", "backup", str(file))
    assert (code, err.count("\n")) == (2, 1)
    assert "exists: name another file" in err


def test_looking_into_no_store_says_what_to_do(shell) -> None:
    s = shell()
    for words in (["gaps"], ["verify"], ["export", "x.csv"]):
        code, _, err = s.call("bars", *words, *NAMED)
        assert (code, err.count("\n")) == (2, 1)
        assert "start the daemon or import bars first" in err
