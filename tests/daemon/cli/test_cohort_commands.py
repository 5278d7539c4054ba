"""`hyperdrift cohorts learn` writes a cohort file, or says that there is nobody to write."""

from collections.abc import Callable
from datetime import UTC, datetime

from daemon.core.bars import Bar, Provenance
from daemon.market_data.order_flow import Cohorts, read_cohorts
from daemon.store import taker_table
from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName
from tests.daemon.cli.test_store_commands import Shell, shell
from tests.daemon.cohorts.archive_files import BEGIN, BOTTOM, TOP, write

__all__ = ["shell"]

BTC = SlotName("BTC", "5m")
NAMED = ("--coin", "TEST", "--interval", "5m")


def test_a_file_is_written_with_the_evidence(shell: Callable[..., Shell]) -> None:
    s = shell()
    files = [str(path) for path in write(s.folder, 6, right=0.95)]
    out = s.folder / "cohorts.csv"
    code, said, err = s.call("cohorts", "learn", *files, *NAMED, "--out", str(out))
    assert (code, err) == (0, "")
    assert read_cohorts(out) == Cohorts(frozenset({TOP}), frozenset({BOTTOM}))
    assert said.splitlines()[-1].endswith(f'name it as [features] cohort_file = "{out}"')
    told = s.report("cohorts", "learn", *files, *NAMED, "--out", str(out), "--horizon", "12")
    assert [m["address"] for m in told["members"]] == [TOP, BOTTOM]
    day = str(datetime.fromtimestamp(BEGIN / 1000 + 3 * 86_400, UTC).date())
    cut = s.report("cohorts", "learn", *files, *NAMED, "--out", str(out), "--until", day)
    assert (told["bars"], cut["bars"]) == (6 * 288 - 1, 4 * 288)
    assert cut["to_ms"] == BEGIN + 4 * 86_400_000
    assert (told["file"], told["addresses"], told["horizon_bars"]) == (str(out), 29, 12)


def test_nobody_is_said_and_an_older_file_stays(shell: Callable[..., Shell]) -> None:
    s = shell()
    files = [str(path) for path in write(s.folder, 4, right=0.5)]
    out = s.folder / "cohorts.csv"
    out.write_text("as it was")
    code, said, _ = s.call("cohorts", "learn", *files, *NAMED, "--out", str(out))
    assert code == 0
    assert "nobody is surely better than chance" in said
    assert said.splitlines()[-1] == f"nothing is written to {out}"
    assert out.read_text() == "as it was"


def test_what_cannot_be_used_is_one_line(shell: Callable[..., Shell]) -> None:
    s = shell()
    files = [str(path) for path in write(s.folder, 4, right=0.5)]
    asked = (
        ((*files, "--coin", "BTC"), "no trade of BTC; there is TEST"),
        ((*files, "--coin", "TEST", "--interval", "15m"), "TEST-15m has no horizon"),
        ((*files, *NAMED, "--horizon", "1000"), "are too few to learn cohorts from"),
        ((str(s.folder / "no.lz4"), *NAMED), "no.lz4"),
    )
    for words, why in asked:
        code, said, err = s.call("cohorts", "learn", *words)
        assert (code, said) == (2, "")
        assert why in err
        assert err.count("\n") == 1


def test_without_files_the_trades_heard_are_used(shell: Callable[..., Shell]) -> None:
    s = shell()
    code, said, err = s.call("cohorts", "learn", "--coin", "BTC")
    assert (code, said) == (2, "")  # there is no store yet
    with open_store(s.data_dir) as store:
        taker_table.put(store.database, BTC, {k * 300_000: {TOP: 1.0} for k in range(400)}, 10**12)
        bars = [Bar(k * 300_000, 7.0, 9.0, 6.0, 8.0 + k % 2, 1.0) for k in range(400)]
        store.put_bars(BTC, bars, Provenance.REST)
    code, said, err = s.call("cohorts", "learn", "--coin", "BTC")
    assert (code, err) == (0, "")
    assert said.startswith("BTC-5m: 1 addresses, 1 tried")
    assert "nobody is surely better than chance" in said
