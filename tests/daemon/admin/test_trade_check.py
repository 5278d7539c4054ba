"""The doctor says what of the file of trades counts, from the daemon or by reading it."""

import json
from pathlib import Path
from typing import Any

from daemon.admin.trade_check import check_trades
from daemon.config.schema import Config, SlotSection, TradesSection
from daemon.core.clock import VenueClock
from hyperdrift.clock import SystemClock

NOW_MS = SystemClock().now_ms()


def config(path: Path) -> Config:
    return Config(slots=(SlotSection(coin="BTC"),), trades=TradesSection(file=str(path)))


def line(i: int, coin: str, **fields: object) -> str:
    times = {"opened_ms": NOW_MS - 90_000, "closed_ms": NOW_MS - 60_000}
    return json.dumps({"trade_id": i, "side": "buy", "pnl": 1.0, "coin": coin, **times, **fields})


def checked(path: Path, status: Any = None) -> tuple[str, str]:
    (check,) = check_trades(config(path), VenueClock(SystemClock()), status or {})
    return check.problem, check.note


def test_a_file_is_read_before_the_first_start(tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    assert checked(path) == ("", f"{path} is not there yet: the bot makes it")
    lines = [line(1, "BTC/USDC:USDC"), line(2, "SOL"), line(3, "BTC", side="\x1b[2J"), "{"]
    path.write_text("\n".join(lines) + "\n")
    problem, note = checked(path)
    assert problem == ""
    assert "1 counted; 1 trade of SOL belongs to no slot" in note
    assert "1 bad (1 because side is neither buy nor sell)" in note
    assert "\x1b" not in note


def test_a_file_of_which_nothing_counts_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    path.write_text("".join(line(i, "DOGE/USDT:USDT") + "\n" for i in range(3)))
    problem, _ = checked(path)
    assert "3 trades of DOGE/USDT:USDT belong to no slot" in problem
    (tmp_path / "folder.csv").mkdir()
    assert "is no file" in checked(tmp_path / "folder.csv")[0]


def test_what_the_daemon_tells_goes_first(tmp_path: Path) -> None:
    told = {"trades": {"file": {"taken": 80, "bad": {"it is no JSON": 2}, "unknown": 1}}}
    problem, note = checked(tmp_path / "gone.csv", told)
    assert (problem, note) == ("", "file: 80 counted; 2 bad (2 because it is no JSON)")
