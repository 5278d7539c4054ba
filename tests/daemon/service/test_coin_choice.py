"""`coin = "*"` stands for what is traded: coins join, leave, and do not flap."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.config import loader
from daemon.config.followed_coins import read_followed
from daemon.config.schema import Config
from daemon.config.slot_entries import SlotEntry
from daemon.core.clock import VenueClock
from daemon.core.errors import VenueUnreachable
from daemon.core.tasks import running
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.traded import Traded
from daemon.service.coin_choice import Choice, CoinChoice, choose
from hyperdrift.errors import ConfigError
from tests.fakes import FakeClock

STAR = SlotEntry(coin="*", min_volume_usd=10e6, exclude=("BAD",))


def chosen(
    before: str, usd: dict[str, float | None], *, delisted: str = "", missed: str = ""
) -> Choice:
    traded = Traded(usd, frozenset(delisted.split()))
    return choose(STAR, before.split(), traded, missed.split())


def test_a_coin_joins_at_the_limit_and_leaves_at_half_of_it() -> None:
    volumes: list[float] = [9.9e6, 10e6, 9e6, 5.1e6, 10e6, 4.9e6, 9.9e6, 11e6]
    coins, told = "", []
    for usd in volumes:
        choice = chosen(coins, {"A": usd})
        coins = " ".join(choice.coins)
        told.append((coins, bool(choice.joined), bool(choice.left)))
    one, none = ("A", False, False), ("", False, False)
    assert told == [
        none,
        ("A", True, False),
        one,
        one,
        one,
        ("", False, True),
        none,
        ("A", True, False),
    ]


def test_a_coin_leaves_when_it_is_delisted_or_excluded_and_says_why() -> None:
    choice = chosen("BAD OLD ETH", {"BAD": 1e9, "ETH": 1e9}, delisted="OLD")
    assert choice == Choice(("ETH",), {}, {"BAD": "it is excluded", "OLD": "it is delisted"})


def test_a_list_that_is_short_once_takes_nothing_away_and_an_unread_volume_neither() -> None:
    assert chosen("A B", {"B": None}).coins == ("A", "B")
    assert chosen("A B", {"B": None, "C": None}, missed="A").coins == ("B",)


class FakeVenue:
    """Answers `metaAndAssetCtxs` from volumes; None fails."""

    def __init__(self) -> None:
        self.delisted = set[str]()
        self.usd: dict[str, float] | None = {"BTC": 90e6, "ETH": 20e6, "DUST": 1.0}

        self.fails = 0

    async def contexts(self) -> bytes:
        self.fails -= 1
        if self.usd is None or self.fails >= 0:
            raise VenueUnreachable("the venue does not answer")
        usd = self.usd | dict.fromkeys(self.delisted, 0.0)
        coins = [{"name": coin, "isDelisted": coin in self.delisted} for coin in usd]
        return json.dumps(
            [{"universe": coins}, [{"dayNtlVlm": str(v)} for v in usd.values()]]
        ).encode()


class Told:
    """A choice beside a venue, and what came of it."""

    def __init__(self, config: Config, clock: FakeClock | None = None) -> None:
        self.venue, self.changes, self.texts = FakeVenue(), 0, list[str]()
        clock = clock or FakeClock()
        self.choice = CoinChoice(
            config,
            cast("RestClient", self.venue),
            VenueClock(clock),
            changed=self._count,
            tell=self.texts.append,
            trouble=(self.texts.append, self.texts.append),
        )

    def _count(self) -> None:
        self.changes += 1


def configured(folder: Path, more: str = "") -> Config:
    path = folder / "hyperdrift.toml"
    path.write_text(
        f'[daemon]\ndata_dir = "{folder}"\n[[slots]]\ncoin = "*"\nmin_volume_usd = 10e6\n{more}'
    )
    return loader.load(path, {})


async def test_what_is_chosen_stands_in_the_configuration_and_is_told_once(tmp_path: Path) -> None:
    told = Told(configured(tmp_path))
    assert configured(tmp_path).slots == ()
    for _ in range(2):
        await told.choice.look()
    assert [str(slot.name) for slot in configured(tmp_path).slots] == ["BTC-5m", "ETH-5m"]
    assert (told.changes, len(told.texts)) == (1, 1)
    assert "joined: BTC (90.0 million USD in 24 hours), ETH (20.0" in told.texts[0]
    assert told.venue.usd is not None
    told.venue.usd |= {"ETH": 4e6}
    await told.choice.look()
    assert read_followed(tmp_path) == {"5m": ("BTC",)}
    assert "left: ETH (4.0 million USD in 24 hours)" in told.texts[-1]


class StillClock(FakeClock):
    """Time does not pass."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_the_venue_is_asked_before_the_hour_is_over_if_a_coin_was_delisted(
    tmp_path: Path,
) -> None:
    told = Told(configured(tmp_path), StillClock())
    running = asyncio.create_task(told.choice.run())
    async with asyncio.timeout(60):
        while told.changes < 1:
            await asyncio.sleep(0.01)
        told.venue.usd = {"BTC": 90e6, "ETH": 1.0}
        told.choice.wake()
        while told.changes < 2:
            await asyncio.sleep(0.01)
    running.cancel()
    assert read_followed(tmp_path) == {"5m": ("BTC",)}


@pytest.mark.parametrize(("failing", "alerts"), [(4, 0), (5, 1), (60, 1)])
async def test_a_call_that_fails_now_and_then_is_no_alert_and_a_lasting_failure_is_one(
    tmp_path: Path, failing: int, alerts: int
) -> None:
    clock = FakeClock()
    told = Told(configured(tmp_path), clock)
    await told.choice.look()
    told.texts.clear()
    told.venue.fails = failing
    async with running(told.choice.run(), "coins"):
        while 3600.0 not in clock.slept:  # until a look that went well
            await asyncio.sleep(0)
    assert ["stay as they are" in text for text in told.texts] == [True, True] * alerts


async def test_without_an_answer_the_coins_stay(tmp_path: Path) -> None:
    told = Told(configured(tmp_path))
    await told.choice.look()
    told.venue.usd = None
    with pytest.raises(VenueUnreachable):
        await told.choice.look()
    assert read_followed(tmp_path) == {"5m": ("BTC", "ETH")}


async def test_more_than_the_venue_serves_is_refused_with_what_to_do(tmp_path: Path) -> None:
    told = Told(configured(tmp_path))
    told.venue.usd = {f"C{k}": 1e9 for k in range(1001)}
    with pytest.raises(ConfigError, match="1001 subscriptions, more than"):
        await told.choice.look()
    assert told.changes == 0
    assert read_followed(tmp_path) == {}


async def test_two_stars_have_coins_of_their_own_and_a_single_slot_goes_before(
    tmp_path: Path,
) -> None:
    more = (
        '[[slots]]\ncoin = "*"\ninterval = ["1h", "1d"]\nmin_volume_usd = 50e6\n'
        '[[slots]]\ncoin = "BTC"\ninterval = "1h"\nhistory_days = 30\n'
    )
    told = Told(configured(tmp_path, more))
    await told.choice.look()
    found = {str(slot.name): slot.history_days for slot in configured(tmp_path, more).slots}
    assert found == {"BTC-5m": None, "ETH-5m": None, "BTC-1h": 30, "BTC-1d": None}


async def test_what_a_star_names_in_vain_is_told_once_and_after_a_reload_that_leaves_it(
    tmp_path: Path,
) -> None:
    vain = 'exclude = ["ETH", "OLD", "dust", "ZZZZZ", "xyz:TSLA"]'
    config = configured(tmp_path, vain)
    told = Told(config)
    told.venue.delisted = {"OLD"}

    async def said() -> list[str]:
        with capture_logs() as logs:
            await told.choice.look()
        return [line["why"] for line in logs if line["event"] == "coins.doubt"]

    of_dex, unlisted = await said()
    assert 'exclude has xyz:TSLA, but "*" stands for no coin of a dex: remove it' in of_dex
    assert "exclude has dust (did you mean DUST?), ZZZZZ, which the venue does not" in unlisted
    assert "mend the spelling, or keep it for a coin to come" in unlisted
    assert await said() == []
    told.choice.adopt(config)
    assert await said() == [], "a reload that says the same of the coins"
    told.choice.adopt(configured(tmp_path, vain + '\n[[slots]]\ncoin = "*"\ninterval = "1h"'))
    assert len(await said()) == 2


async def test_a_limit_that_leaves_no_coin_is_told(tmp_path: Path) -> None:
    told = Told(configured(tmp_path))
    told.venue.usd = {"DUST": 1.0}
    with capture_logs() as logs:
        await told.choice.look()
    (line,) = logs
    assert "min_volume_usd = 10000000 leaves no coin at 5m: lower it" in line["why"]


def wrong_stars() -> Iterator[tuple[str, str]]:
    star = '[[slots]]\ncoin = "*"\n'
    yield '[[slots]]\ncoin = ["BTC", "*"]', 'only "*" alone stands for many'
    yield '[[slots]]\ncoin = "xyz:*"', 'only "*" alone stands for many'
    yield '[[slots]]\ncoin = "BTC"\nmin_volume_usd = 1', 'min_volume_usd belongs to coin = "*"'
    yield '[[slots]]\ncoin = "BTC"\nexclude = ["ETH"]', 'exclude belongs to coin = "*"'
    yield star + star, 'two [[slots]] have coin = "*" at 5m; remove one'
    yield star + 'interval = "15m"', "no measured defaults; write horizon_bars and threshold"
    yield star + "min_volume_usd = -1", "min_volume_usd is -1; write a number of at least 0"
    yield star + 'exclude = "BTC"', "exclude is 'BTC'; write a list"
    yield star + "[policy]\nmin_barz = 3", "'min_barz' is not a setting"


@pytest.mark.parametrize(("text", "why"), list(wrong_stars()))
def test_what_is_wrong_with_a_star_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "hyperdrift.toml"
    path.write_text(f"{text}\n")
    with pytest.raises(ConfigError) as e:
        loader.load(path, {"HYPERDRIFT_DAEMON__DATA_DIR": str(tmp_path)})
    assert why in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"5m": 3}', b"\xff"])
def test_a_damaged_choice_is_made_anew(tmp_path: Path, content: Any) -> None:
    (tmp_path / "followed-coins.json").write_bytes(content)
    assert configured(tmp_path).slots == ()
