"""A grid: each cell has a row, a failing one stops no other, and a rerun goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from daemon.backtest import report
from daemon.backtest.backtest import GridBacktest
from daemon.backtest.grid import planned
from daemon.backtest.results import REFUSED
from daemon.backtest.summaries import GridResult
from daemon.config.schema import Config
from daemon.core.errors import DataFolderBusy, RetrainFailedError
from daemon.store.folder_lock import folder_lock
from hyperdrift.errors import BadInput, ConfigError
from tests.daemon.backtest.made_up_grid import BARS, Runs, configured, fill, named

POLICIES = ("never", "weekly")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    fill(tmp_path, "BTC-5m", "SOL-5m")
    return configured(tmp_path, "BTC", "SOL", "NEW")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr(report, "_plot", lambda *_: "<svg></svg>")  # a second each
    return Runs(monkeypatch)


def grid(config: Config, *coins: str, horizons: tuple[int, ...] = (), **given: Any) -> GridBacktest:
    sections = planned(config, coins or ("BTC", "SOL"), ["5m"], horizons)
    return GridBacktest(config, sections, POLICIES, **({"quiet": True} | given))


def failures(done: GridResult) -> dict[str, str]:
    return {
        f"{one.slot} {result.policy}": result.failure.reason
        for one in done.slots
        for result in one.results
        if result.failure
    }


async def test_each_cell_has_figures_a_file_and_its_slot_a_page(config: Config, runs: Runs) -> None:
    done = await grid(config, horizons=(12, 24)).run()
    assert done.cells == 8
    assert sorted(runs.asked) == sorted(
        named(["BTC-5m 12", "BTC-5m 24", "SOL-5m 12", "SOL-5m 24"], *POLICIES)
    )
    said = report.document(done)
    assert [(one["slot"], one["horizon_bars"]) for one in said["coins"]] == [
        *(("BTC-5m", 12), ("BTC-5m", 24), ("SOL-5m", 12), ("SOL-5m", 24))
    ]
    for one in said["coins"]:
        for each in one["policies"]:
            assert each["failed"] is None
            assert each["bars"] > 300
            assert json.loads(Path(each["kept"]).read_text())["record"]["published"]
    pages = [Path(one["report"]).name for one in said["coins"]]
    assert pages == ["BTC-5m.html", "BTC-5m-24bars.html", "SOL-5m.html", "SOL-5m-24bars.html"]
    assert [(one["horizon_bars"], one["policy"], one["cells"]) for one in said["summaries"]] == [
        *((12, "never", 2), (12, "weekly", 2), (12, None, 4)),
        *((24, "never", 2), (24, "weekly", 2), (24, None, 4)),
    ]
    assert set(said["means"]) == set(POLICIES)
    assert done.exit_code == 0
    assert all(result.record is None for one in done.slots for result in one.results)


async def test_a_cell_that_fails_stops_no_other_and_says_why(config: Config, runs: Runs) -> None:
    runs.fails["SOL-5m 12 never"] = RetrainFailedError("it ran out of its memory")
    runs.refused.add("SOL-5m 12 weekly")
    done = await grid(config, "BTC", "SOL", "NEW").run()
    few = "NEW-5m has 0 bars stored; more than policy.min_bars = 500 are needed: import some"
    assert failures(done) == {
        "SOL-5m never": "it ran out of its memory",
        "SOL-5m weekly": "the gates refused the only candidate, by overfit",
        "NEW-5m never": few,
        "NEW-5m weekly": few,
    }
    assert done.exit_code == 0
    report.show(done)


async def test_the_exit_code_says_that_all_cells_failed(config: Config, runs: Runs) -> None:
    runs.refused |= set(named(["BTC-5m 12", "SOL-5m 12"], *POLICIES))
    assert (await grid(config, "BTC", "SOL", "NEW").run()).exit_code == REFUSED
    runs.fails["SOL-5m 6 never"] = RetrainFailedError("it ran out of its memory")
    runs.refused |= set(named(["BTC-5m 6", "SOL-5m 6"], *POLICIES))
    done = await grid(config, "BTC", "SOL", "NEW", horizons=(6,)).run()
    assert done.exit_code == 1, "another run may have figures"
    assert report.document(done)["failed"] == 6
    with pytest.raises(BadInput, match=r"NEW-5m has 0 bars stored.*import some$"):
        await grid(config, "NEW").run()
    with pytest.raises(BadInput, match=r"NEW-5m has 0 .* \(and 1 slots more\)"):
        await grid(config, "NEW", horizons=(6, 12)).run()


async def test_a_rerun_replays_nothing_but_what_failed(
    config: Config, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.fails["SOL-5m 12 never"] = RetrainFailedError("it ran out of its memory")
    runs.broken.add("BTC-5m 12 weekly")
    first = await grid(config).run()
    runs.fails.clear()
    runs.asked.clear()
    again = await grid(config, quiet=False).run()
    assert sorted(runs.asked) == ["BTC-5m 12 weekly", "SOL-5m 12 never"]
    assert "hyperdrift: 2 of 4 cells were done before" in capsys.readouterr().err
    assert again.slots[0].results == first.slots[0].results
    assert not failures(again)
    runs.asked.clear()
    await grid(config, days=1).run()
    assert len(runs.asked) == 4, "other bars are another backtest"


async def interrupted(
    backtest: GridBacktest, runs: Runs, after: int, ended: int | None = None
) -> None:
    """Interrupt it when `after` cells were run and `ended` have ended, if not as many."""
    runs.ends_after = after
    task = asyncio.create_task(backtest.run())
    async with asyncio.timeout(60):
        while backtest.done < (ended or after):
            await asyncio.wait([task], timeout=0.01)
    task.cancel()
    await asyncio.wait([task])
    runs.ends_after = 1_000_000


async def test_an_interrupted_grid_goes_on_with_the_bars_of_its_beginning(
    config: Config, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.places = 0  # one slot at a time
    stopped = grid(config)
    await interrupted(stopped, runs, 3)
    assert stopped.resume.startswith("3 of 4 cells are done and kept; the same command goes on")
    runs.asked.clear()
    fill(config.data_dir, "BTC-5m", "SOL-5m", bars=BARS + 20)
    done = await grid(config, quiet=False).run()
    assert len(runs.asked) == 1
    told = capsys.readouterr().err
    assert "an interrupted backtest goes on: 3 of 4 cells are done, bars until 2023-" in told
    assert len({result.figures.bars for one in done.slots for result in one.results}) == 1
    runs.asked.clear()
    await grid(config).run()
    assert len(runs.asked) == 4, "once it is finished, the newest bars count"


async def test_both_runs_count_the_same_cells_as_kept(
    config: Config, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.places = 0  # one slot at a time
    runs.fails["BTC-5m 12 never"] = RetrainFailedError("it ran out of its memory")
    runs.refused.add("BTC-5m 12 weekly")  # a finding, which is kept
    runs.broken |= set(named(["SOL-5m 12"], *POLICIES))
    stopped = grid(config, "NEW", "BTC", "SOL")
    await interrupted(stopped, runs, 3, ended=5)
    assert stopped.resume.startswith("1 of 6 cells are done and kept; ")
    await grid(config, "NEW", "BTC", "SOL", quiet=False).run()
    told = capsys.readouterr().err
    assert "an interrupted backtest goes on: 1 of 6 cells are done, bars until 20" in told
    assert "1 of 6 cells were done before" in told


async def test_few_slots_are_in_memory_at_once(config: Config, runs: Runs) -> None:
    runs.places = 1
    await grid(config, horizons=tuple(range(6, 14))).run()
    assert len(runs.asked) == 32
    assert 2 <= runs.most_at_once <= 4, "two slots, of two policies each"


async def test_two_backtests_on_one_data_folder_are_refused_in_one_line(config: Config) -> None:
    with folder_lock(config.data_dir / "backtest"), pytest.raises(DataFolderBusy, match="another"):
        await grid(config).run()


def test_a_backend_that_is_none_is_said_before_anything_runs(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"^--backend is 'moon'; write "):
        grid(config, backend="moon")


def test_an_unknown_policy_is_said_before_anything_runs(config: Config) -> None:
    with pytest.raises(ConfigError, match="--policy 'hourly' is not one of drift, never"):
        GridBacktest(config, planned(config, ["BTC"], ["5m"], []), ["hourly"], quiet=True)
