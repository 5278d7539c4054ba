"""One entry may name many slots, and what names a slot more narrowly goes first."""

from pathlib import Path

import pytest

from daemon.config import loader
from daemon.config.followed_coins import read_followed, write_followed
from daemon.config.schema import Config, SlotSection
from daemon.config.slot_entries import begin_stars, doubts
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName

LISTS = """
[[slots]]
coin = ["BTC", "kPEPE", "xyz:TSLA"]
interval = ["5m", "24h"]
history_days = 90
costs = { slippage_bps = 2.0 }
"""


def slots(folder: Path, text: str) -> dict[str, SlotSection]:
    path = folder / "hyperdrift.toml"
    path.write_text(text)
    return {str(slot.name): slot for slot in loader.load(path, {}).slots}


def entry(coin: str, interval: str = '"5m"', more: str = "") -> str:
    return f"[[slots]]\ncoin = {coin}\ninterval = {interval}\n{more}\n"


def test_lists_make_one_slot_for_each_coin_at_each_interval(tmp_path: Path) -> None:
    found = slots(tmp_path, LISTS)
    coins = ("BTC", "kPEPE", "xyz:TSLA")
    assert list(found) == [f"{coin}-{interval}" for coin in coins for interval in ("5m", "1d")]
    assert {slot.history_days for slot in found.values()} == {90}
    assert all(slot.costs == {"slippage_bps": 2.0} for slot in found.values())
    assert found["BTC-5m"].horizon == 12
    assert found["BTC-1d"].horizon == 1
    assert found["BTC-1d"].name == SlotName("BTC", "1d")


@pytest.mark.parametrize("is_first", [True, False])
def test_an_entry_for_one_slot_overrides_the_list_wherever_it_stands(
    tmp_path: Path, *, is_first: bool
) -> None:
    single = entry('"BTC"', '"5m"', 'threshold = "auto"\nhistory_days = 30')
    found = slots(tmp_path, single + LISTS if is_first else LISTS + single)
    assert len(found) == 6
    assert found["BTC-5m"].history_days == 30
    assert found["BTC-5m"].threshold == "auto"
    assert found["BTC-5m"].costs == {"slippage_bps": 2.0}, "what it leaves out is the list's"
    assert found["BTC-1d"].history_days == 90
    assert found["kPEPE-5m"].threshold is None


def test_one_coin_goes_before_a_list_and_one_interval_before_a_list_of_intervals(
    tmp_path: Path,
) -> None:
    found = slots(
        tmp_path,
        entry('["BTC", "ETH"]', '["5m", "1h"]', "history_days = 90")
        + entry('["BTC", "ETH"]', '"1h"', "history_days = 91\nhorizon_bars = 6")
        + entry('"BTC"', '["5m", "1h"]', "history_days = 92"),
    )
    days = {name: slot.history_days for name, slot in found.items()}
    assert days == {"BTC-5m": 92, "BTC-1h": 92, "ETH-5m": 90, "ETH-1h": 91}
    assert found["BTC-1h"].horizon_bars == 6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (entry('["BTC", "ETH", "BTC"]'), "coin has 'BTC' twice; remove one"),
        (entry('"BTC"', '["1d", "24h"]'), "interval has '1d' twice; remove one"),
        (entry("[]"), "number 1: coin is []; write a list, like"),
        (entry('"BTC"', "[]"), "number 1: interval is []; write a list, like"),
        (entry('["BTC", ""]'), "coin[1] is ''; write text in quotes, not empty"),
        (
            entry('"BTC"') + entry("5"),
            'number 2: coin is 5; write text in quotes, or a list, like ["',
        ),
        (entry('["BTC", 5]'), "coin[1] is 5; write text in quotes"),
        (
            entry('["BTC", "PURR/USDC"]'),
            "PURR/USDC is a spot market",
        ),
        (entry('"*"', more='exclude = ["@107"]'), "exclude has '@107', a spot market, and"),
        (entry('"BTC,ETH"'), """coin has 'BTC,ETH'; write ["BTC", "ETH"]"""),
        (entry('["BTC", " kPEPE"]'), "coin has ' kPEPE'; write \"kPEPE\""),
        (entry('["ETH-24h"]'), 'the name of a slot; write "ETH", and interval = "24h"'),
        (entry('"*"', more='exclude = ["DOGE-5m"]'), "exclude has 'DOGE-5m', the name of a slot"),
        (entry('"*"', more='exclude = ["A", "A"]'), "exclude has 'A' twice; remove one"),
        (entry('"*"', more='exclude = ["x*"]'), "exclude has 'x*'; write the name of each coin"),
        (entry('"*"', more="min_volume_usd = inf"), "write a number of at most 1000000000000000"),
        (entry('"*"', '["5m", "1h"]') + entry('"*"', '["1h", "12h"]'), '"*" at 1h; remove one'),
        (entry('"*"', '["5m"]') + entry('"*"'), '"*" at 5m; remove one'),
        (entry('["BTC"]') + entry('["ETH", "BTC"]'), "two [[slots]] name BTC-5m, neither more"),
        (
            entry('"BTC"') + entry('"BTC"'),
            "two [[slots]] name BTC-5m, neither more narrowly; remove",
        ),
        (
            entry('"BTC"', '["5m", "1h"]', "horizon_bars = 12"),
            "horizon_bars = 12 is another time at each interval; write one [[slots]] for each",
        ),
        (
            entry('"BTC"', '["5m", "1h"]', "threshold = 0.005"),
            "threshold = 0.005 cannot fit bars of several lengths; write one [[slots]] for each",
        ),
        (entry('"BTC"', '["5m", "15m"]'), "BTC-15m: this interval has no measured defaults"),
        (entry('["BTC", "ETH"]', more="threshold = 5.0"), "BTC-5m: threshold is 5.0; write a"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_line_that_says_what_to_write(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as e:
        slots(tmp_path, text)
    assert told in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("wider", ['["BTC", "ETH"]', '"*"', '"ETH"'])
def test_an_entry_that_leaves_out_the_interval_of_a_list_is_doubted(
    tmp_path: Path, wider: str
) -> None:
    path = tmp_path / "hyperdrift.toml"

    def doubted(of_list: str, single: str) -> list[str]:
        path.write_text(entry(wider, of_list) + f'[[slots]]\ncoin = "ETH"\n{single}')
        return doubts(loader.load(path, {"HYPERDRIFT_DAEMON__DATA_DIR": str(tmp_path)}))

    (told,) = doubted('["1h", "24h"]', "history_days = 30")
    assert 'coin = "ETH" without interval is ETH-5m, and changes nothing of ETH at 1h, 1d' in told
    assert 'write interval = "1h" or "5m"' in told
    assert doubted('["1h", "24h"]', 'interval = "5m"') == []
    assert doubted('["1h", "5m"]', "history_days = 30") == []


def star(folder: Path, interval: str = '"5m"') -> Config:
    path = folder / "hyperdrift.toml"
    path.write_text(f'[daemon]\ndata_dir = "{folder}"\n' + entry('"*"', interval, EXCLUDE))
    return loader.load(path, {})


EXCLUDE = 'exclude = ["DOGE"]'


def test_a_star_that_is_new_begins_with_the_coins_that_are_followed_at_its_intervals(
    tmp_path: Path,
) -> None:
    path = tmp_path / "before.toml"
    path.write_text(entry('["BTC", "DOGE", "xyz:TSLA"]') + entry('"ETH"', '"1h"'))
    before = loader.load(path, {})
    new = begin_stars(star(tmp_path), before)
    assert [str(slot.name) for slot in new.slots] == ["BTC-5m"]
    assert star(tmp_path).slots == new.slots, "a command that reads the file knows them too"
    wider = begin_stars(star(tmp_path, '["5m", "1h"]'), before)
    assert {str(slot.name) for slot in wider.slots} == {"BTC-5m", "BTC-1h", "ETH-5m", "ETH-1h"}


def test_a_star_that_was_there_keeps_its_choice(tmp_path: Path) -> None:
    write_followed(tmp_path, {"5m": ("SOL",)})
    before = star(tmp_path)
    assert begin_stars(star(tmp_path), before) == before
    assert read_followed(tmp_path) == {"5m": ("SOL",)}
