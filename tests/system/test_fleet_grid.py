"""A small grid by the command line, interrupted and gone on with, and its page in a browser."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from daemon.backtest import grid_page
from daemon.backtest.results import BacktestResult, CellFailure, SlotBacktest
from daemon.backtest.summaries import GridResult, Summaries
from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName
from tests.daemon.backtest.test_backtest import FIRST, GATES, POLICY, fill, market
from tests.daemon.backtest.test_summaries import add, result, returns
from tests.daemon.small_retrain import interpreter
from tests.system.accessibility import faint_texts
from tests.system.browser import DESK, PHONE, browsing, complaints, missing, overflow, show_as

pytestmark = pytest.mark.fleet

HOSTILE = "</td><script>document.title='taken'</script><img src=x onerror=alert(1)>"
GRID = ("--coin", "*", "--interval", "5m,1h", "--horizon", "6,12", "--policy", "never")
browser = pytest.mark.skipif(bool(missing()), reason=f"no browser to look with: {missing()}")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    with open_store(folder) as store:
        fill(store, market(FIRST + 200), FIRST + 200, SlotName("BTC", "5m"))
    settings: dict[str, Any] = {
        "daemon": {"data_dir": str(folder)},
        "retrain": {"python": interpreter(folder)},
        "policy": POLICY,
        "gates": GATES,
    }
    path = folder / "hyperdrift.toml"
    lines = ['[[slots]]\ncoin = "BTC"\n']
    for name, section in settings.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    path.write_text("\n".join(lines))
    return path


def command(config: Path, *more: str) -> "subprocess.Popen[str]":
    words = ["backtest", "--config", str(config), *GRID, "--days", "1", *more]
    pipe = subprocess.PIPE
    line = [sys.executable, "-m", "daemon.cli", *words]
    return subprocess.Popen(line, text=True, stdout=pipe, stderr=pipe)


def test_a_grid_is_interrupted_goes_on_and_is_not_run_twice(config: Path) -> None:
    stopped = command(config)
    assert stopped.stderr is not None
    for line in stopped.stderr:
        if "BTC-5m" in line:
            break
    stopped.send_signal(signal.SIGINT)
    _, told = stopped.communicate(timeout=240)
    assert stopped.returncode == 130
    kept = re.search("(.) of 4 cells are done and kept; the same command goes on from here", told)
    assert kept is not None
    count = f"{kept[1]} of 4 cells"
    page = config.with_name("grid.html")
    out, told = command(config, "--page", str(page)).communicate(timeout=240)
    assert f"an interrupted backtest goes on: {count} are done, bars until " in told
    assert f"{count} were done before" in told
    assert out.count("BTC-1h has 0 bars stored; more than policy.min_bars = 3400") == 2
    assert "4 cells were tried, 2 have figures" in out
    assert page.exists()
    again = command(config, "--json")
    said = json.loads(again.communicate(timeout=240)[0])
    assert again.returncode == 0
    cells = [each for one in said["coins"] for each in one["policies"]]
    assert len(cells) == said["cells"] == 4
    files = [json.loads(Path(each["kept"]).read_text()) for each in cells if each["kept"]]
    assert [len(one["record"]["trained"]) for one in files] == [1, 1]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    folder = tmp_path_factory.mktemp("page")
    grid_page.write(folder / "grid.html", made_up())
    with browsing(folder / "profile") as driver:
        show_as(driver, DESK, "light")
        driver.get(f"file://{folder}/grid.html")
        yield driver


@browser
def test_each_column_sorts_up_down_and_back(driver: Chrome) -> None:
    cells = driver.find_elements(By.TAG_NAME, "table")[1]
    head = cells.find_elements(By.TAG_NAME, "button")[6]
    assert head.text == "P&L after costs"
    assert slots(cells) == ["A-5m", f"{HOSTILE}-5m", "B-5m", "C-5m"]
    head.click()
    assert slots(cells) == ["C-5m", "A-5m", "B-5m", f"{HOSTILE}-5m"]
    head.click()
    assert slots(cells) == ["B-5m", "A-5m", "C-5m", f"{HOSTILE}-5m"], "no figure: last"
    assert head.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    head.click()
    assert slots(cells) == ["A-5m", f"{HOSTILE}-5m", "B-5m", "C-5m"]


@browser
def test_a_hostile_name_runs_nothing_and_the_browser_complains_of_nothing(
    driver: Chrome,
) -> None:
    assert driver.title == "Backtest of 4 cells"
    assert complaints(driver) == []


@browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_on_a_phone_and_in_the_dark(driver: Chrome, scheme: Any) -> None:
    for size in (PHONE, DESK):
        show_as(driver, size, scheme)
        assert overflow(driver) <= 0
        assert faint_texts(driver) == []


def slots(table: Any) -> list[str]:
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.TAG_NAME, "td")[0].text for row in rows]


def made_up() -> GridResult:
    summaries, done = Summaries(), []
    for coin, drift in (("A", 0.0), (HOSTILE, None), ("B", 5e-5), ("C", -5e-5)):
        failed = BacktestResult("never", failure=CellFailure(f"no bars of {coin} are stored"))
        one = failed if drift is None else result("never", returns(1) + drift)
        done.append(SlotBacktest(SlotName(coin, "5m"), 12, (one,), 9.0))
    add(summaries, "A-5m", {"never": np.full(500, 1e-4)})
    return GridResult(tuple(done), tuple(summaries.rows()))
