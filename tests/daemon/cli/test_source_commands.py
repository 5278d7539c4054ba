"""What was imported is listed, and a wrong file is undone by the command that its line names."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Bar, Funding, Provenance
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS
from tests.daemon.cli.test_store_commands import NAMED, SLOT, STEP, Shell, recorded, shell, venue

__all__ = ["shell", "venue"]

START = recorded(0, 1)[0].t
HOUR = START // HOUR_MS * HOUR_MS


def csv(path: Path, bars: list[Bar], times: float = 1.0) -> Path:
    rows = (
        f"{b.t},{b.open * times},{b.high * times},{b.low * times},{b.close * times},{b.volume}\n"
        for b in bars
    )
    path.write_text("t,open,high,low,close,volume\n" + "".join(rows))
    return path


def rates(path: Path, rate: float, hours: int = 5) -> Path:
    rows = (f"{HOUR + k * HOUR_MS},{rate}\n" for k in range(hours))
    path.write_text("time,rate\n" + "".join(rows))
    return path


def everything(store: Store) -> dict[str, Any]:
    frame = {name: np.nan_to_num(c, nan=-9).tolist() for name, c in store.frame(SLOT).items()}
    return {
        "held": store.held(SLOT, 0, 2**62),
        "frame": frame,
        "missing": store.missing(SLOT),
        "gaps": store.gaps(SLOT),
        "newest": [store.newest_t(SLOT, p) for p in Provenance],
        "funding": store.funding(SLOT.coin, 0, 2**62),
        "sources": store.imports.sources(SLOT),
    }


def seeded(s: Shell) -> dict[str, Any]:
    """A store with bars of every kind, as it is before the wrong file comes."""
    with open_store(s.data_dir) as store:
        store.put_bars(SLOT, recorded(0, 3), Provenance.REST)
        store.put_bars(SLOT, recorded(3, 5), Provenance.STREAM)
        store.put_bars(SLOT, recorded(5, 6), Provenance.FILLED)
        store.put_funding(SLOT.coin, [Funding(HOUR + 79, 1e-5)])
    s.report("import", str(csv(s.folder / "bars.csv", recorded(4, 9))), *NAMED)
    words = ("import", str(rates(s.folder / "funding.csv", 2e-5, 3)), "--coin", SLOT.coin)
    s.report(*words, "--kind", "funding")
    with open_store(s.data_dir, read_only=True) as store:
        return everything(store)


WRONG: list[tuple[str, Callable[[Path], Path], tuple[str, ...]]] = [
    ("wrong.csv", lambda path: csv(path, recorded(0, 40), 0.05), ()),
    ("bars.csv", lambda path: csv(path, recorded(2, 20), 1000.0), ()),
    ("it's a file.csv", lambda path: csv(path, recorded(2, 20), 1000.0), ()),
    ("funding.csv", lambda path: rates(path, 4e-5), ("--kind", "funding")),
]


@pytest.fixture(autouse=True)
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.hyperliquid.rest._TRIES", 1)


@pytest.mark.parametrize(("name", "write", "kind"), WRONG, ids=[w[0] for w in WRONG])
def test_the_command_of_the_line_undoes_a_wrong_file(shell, name, write, kind) -> None:
    s = shell()
    before = seeded(s)
    folder = s.folder / "other"
    folder.mkdir()
    code, out, err = s.call("import", str(write(folder / name)), *NAMED, *kind)
    assert (code, err) == (0, "")
    with open_store(s.data_dir, read_only=True) as store:
        assert everything(store) != before
    line = out.splitlines()[0]
    words = shlex.split(line.partition("to take it back: ")[2])
    assert words[:3] == ["hyperdrift", "bars", "forget"]
    code, out, _ = s.call(*words[1 : words.index("--config")])
    assert (code, "next start of the daemon fetches" in out) == (0, True)
    with open_store(s.data_dir, read_only=True) as store:
        assert everything(store) == before


def test_what_the_venue_still_serves_is_fetched_in_the_place_of_a_wrong_file(shell, venue) -> None:
    s, bars = shell(venue), recorded(6000, 6050)
    s.report("import", str(csv(s.folder / "wrong.csv", bars, 0.01)), *NAMED)
    done = s.report("bars", "forget", "--source", "wrong.csv", *NAMED)
    assert (done["rows"], done["in_force"], done["unreached"]) == (50, 50, "")
    with open_store(s.data_dir, read_only=True) as store:
        held = store.held(SLOT, bars[0].t, bars[-1].t)
    assert [copy.bar for copy in held] == bars
    assert {copy.provenance for copy in held} == {Provenance.REST}


def test_a_backfill_tells_where_a_file_differs_and_how_to_forget_it(shell, venue) -> None:
    s, bars = shell(venue), recorded(6000, 6050)
    s.report("import", str(csv(s.folder / "wrong.csv", bars, 0.01)), *NAMED)
    (note,) = s.report("backfill", *NAMED, "--days", "1")["notes"]
    assert "50 of 50 bars of BTC-5m that wrong.csv brought differ" in note
    assert "hyperdrift bars forget --coin BTC --interval 5m --source wrong.csv" in note
    assert s.report("backfill", *NAMED, "--days", "1")["notes"] == []


def test_sources_are_listed_with_what_is_in_force(shell) -> None:
    s = shell()
    seeded(s)
    first, second = s.report("bars", "sources", *NAMED)["sources"]
    assert (first["name"], first["kind"], first["rows"]) == ("bars.csv", "bars", 5)
    assert (first["first_t"], first["last_t"]) == (START + 4 * STEP, START + 8 * STEP)
    assert (second["name"], second["rows"], second["in_force"]) == ("funding.csv", 3, 2)
    code, out, _ = s.call("bars", "sources", *NAMED)
    assert (code, out.splitlines()[0][:36]) == (0, "bars.csv: 5 bars from 2025-06-15 15:")


def test_a_span_may_be_forgotten_of_every_import(shell) -> None:
    s = shell()
    seeded(s)
    words = ("--from", str(START + 6 * STEP), "--to", "2025-06-15 15:45Z", *NAMED)
    done = s.report("bars", "forget", *words)
    with open_store(s.data_dir, read_only=True) as store:
        left = [(t - START) // STEP for t in store.bars(SLOT)["t"].tolist()]
    assert (done["sources"], left) == (["bars.csv"], [0, 1, 2, 3, 4, 5, 8])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name what to forget: --source NAME, or --from and --to"),
        (("--source", "b.csv"), "has no such import; there is: bars.csv"),
        (("--from", "yesterday"), "write a time in UTC like 2026-01-31"),
        (("--source", "x", "--kind", "trades"), "is not bars or funding"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(shell, words, said) -> None:
    s = shell()
    before = seeded(s)
    code, out, err = s.call("bars", "forget", *words, *NAMED)
    assert (code, out, said in err, err.count("\n")) == (2, "", True, 1)
    with open_store(s.data_dir, read_only=True) as store:
        assert everything(store) == before


def test_beside_a_running_daemon_it_says_what_to_do(shell) -> None:
    s = shell()
    seeded(s)
    with folder_lock(s.data_dir):
        code, _, err = s.call("bars", "forget", "--source", "bars.csv", *NAMED)
    assert (code, "stop it, forget, and start it again" in err) == (2, True)
