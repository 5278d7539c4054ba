"""Each fault, seen by a plain client of the exchange; time is virtual, the sockets are real."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import (
    BadBar,
    ClockJump,
    CoinFails,
    Delisted,
    Disconnect,
    DroppedKeepalive,
    Duplicate,
    Expired,
    Fault,
    HttpError,
    Late,
    Malformed,
    NoTrades,
    Refused,
    Reorder,
    ShortMeta,
    Slow,
    StaleRest,
    Stall,
    Unlisted,
    Withhold,
)
from daemon.demo.market import generate
from hyperdrift.errors import BadInput
from tests import virtual_time
from tests.daemon.demo.markets import MINUTES_5, START_MS, as_recorded, market
from tests.virtual_time import LoopClock

BAR = MINUTES_5
RECORDING = market(60)
ETHER = generate(60, BAR, 3, start_ms=START_MS, coin="ETH")
BEGIN = 10
"""The bar with which a replay begins."""
NOW_MS = START_MS + BEGIN * BAR
SPEED = 100.0
META, STATUS = {"type": "meta"}, {"type": "exchangeStatus"}
FUNDING = {"type": "fundingHistory", "coin": "BTC", "startTime": 0}
CANDLES = {"type": "candle", "coin": "BTC", "interval": "5m"}


@dataclass
class Seen:
    """What a client was sent: candle frames with the bars' offsets, and how the socket ended."""

    raw: list[bytes] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    closed: ConnectionClosed | None = None

    @property
    def candles(self) -> list[dict[str, Any]]:
        frames = [json.loads(text) for text in self.raw]
        return [frame["data"] for frame in frames if frame["channel"] == "candle"]

    @property
    def bars(self) -> list[int]:
        """The numbers of the bars pushed, counted from the beginning of the replay."""
        return [(candle["t"] - NOW_MS) // BAR for candle in self.candles]

    def last(self, bar: int, coin: str = "BTC") -> dict[str, Any]:
        wanted = NOW_MS + bar * BAR
        return [c for c in self.candles if (c["t"], c["s"]) == (wanted, coin)][-1]


class Client:
    """A client of an exchange with faults."""

    def __init__(self, exchange: ReplayExchange, http: aiohttp.ClientSession) -> None:
        self.exchange, self._http = exchange, http

    async def until(self, bars: float) -> None:
        """Wait until so many bars have passed since the beginning."""
        while self.exchange.now_ms() < NOW_MS + bars * BAR:
            await asyncio.sleep(0.05)

    async def listen(self, bars: float, coins: Sequence[str] = ("BTC",)) -> Seen:
        """Collect frames until a time, or until the socket ends."""
        seen = Seen()
        async with connect(self.exchange.ws_url, ping_interval=None) as ws:
            for coin in coins:
                subscription = {**CANDLES, "coin": coin}
                await ws.send(json.dumps({"method": "subscribe", "subscription": subscription}))
            reader = asyncio.create_task(self._read(ws, seen))
            waiter = asyncio.create_task(self.until(bars))
            await asyncio.wait({reader, waiter}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, waiter):
                task.cancel()
            await asyncio.gather(reader, waiter, return_exceptions=True)
        return seen

    async def _read(self, ws: Any, seen: Seen) -> None:
        try:
            while True:
                seen.raw.append(await ws.recv(decode=False))
                seen.at_ms.append(self.exchange.now_ms())
        except ConnectionClosed as e:
            seen.closed = e

    async def ask(self, **body: Any) -> tuple[int, Any]:
        async with self._http.post(f"{self.exchange.url}/info", json=body) as answer:
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def raw(self, body: dict[str, Any]) -> bytes:
        async with self._http.post(f"{self.exchange.url}/info", json=body) as answer:
            return await answer.read()

    async def candles(self, coin: str = "BTC") -> Any:
        """The bars since the beginning, as REST has them."""
        req = {"coin": coin, "interval": "5m", "startTime": NOW_MS}
        return (await self.ask(type="candleSnapshot", req=req))[1]


def play(what: Any, *faults: Fault) -> Any:
    """Run `what(client)` against an exchange with these faults."""

    async def stage() -> Any:
        exchange = ReplayExchange(
            [RECORDING, ETHER], LoopClock(), speed=SPEED, start_ms=NOW_MS, faults=faults
        )
        async with exchange, aiohttp.ClientSession() as http:
            return await what(Client(exchange, http))

    return virtual_time.run(stage())


def listen(bars: float, *faults: Fault, coins: Sequence[str] = ("BTC",)) -> Seen:
    seen: Seen = play(lambda client: client.listen(bars, coins), *faults)
    return seen


def span(begin: float, bars: float) -> dict[str, Any]:
    return {"at_ms": round(begin * BAR), "for_ms": round(bars * BAR)}


def recorded(bar: int) -> dict[str, object]:
    return as_recorded(RECORDING, BEGIN + bar)


# -- the socket ----------------------------------------------------------------------------


def test_a_disconnect_ends_the_socket_without_a_close_frame_and_refuses_new_ones() -> None:
    async def act(client: Client) -> tuple[Seen, int]:
        seen = await client.listen(9)
        refused = 0
        for bars in (1.2, 1.9, 2.1):
            await client.until(bars)
            try:
                await client.listen(bars + 0.05)
            except (InvalidHandshake, InvalidMessage, OSError, EOFError):
                refused += 1
        return seen, refused

    seen, refused = play(act, Disconnect(**span(1, 1)))
    assert seen.closed is not None
    assert seen.closed.rcvd is None
    assert max(seen.at_ms) < NOW_MS + BAR
    assert refused == 2


def test_expired_is_a_close_in_good_order() -> None:
    seen = listen(9, Expired(at_ms=2 * BAR))
    assert seen.closed is not None
    assert seen.closed.rcvd is not None
    assert (seen.closed.rcvd.code, seen.closed.rcvd.reason) == (1000, "Expired")
    assert set(seen.bars) == {0, 1}


def test_a_stalled_socket_is_open_and_silent_and_goes_on() -> None:
    seen = listen(8, Stall(**span(2, 3)))
    assert seen.closed is None
    assert not [at for at in seen.at_ms if NOW_MS + 2 * BAR <= at < NOW_MS + 5 * BAR]
    assert {0, 1, 5, 6, 7} <= set(seen.bars)


def test_the_wall_clock_can_say_when() -> None:
    seen = listen(9, Expired(at_wall_s=2 * BAR / 1000 / SPEED))
    assert set(seen.bars) == {0, 1}


def test_an_unlisted_coin_costs_the_socket_and_is_unknown_to_rest() -> None:
    async def act(client: Client) -> Any:
        seen = await client.listen(1)
        _, meta = await client.ask(type="meta")
        funding = await client.ask(type="fundingHistory", coin="BTC", startTime=0)
        await client.until(2.1)
        return seen, meta, await client.candles(), funding, await client.listen(2.5)

    seen, meta, candles, funding, later = play(act, Unlisted(coin="BTC", **span(0, 2)))
    assert seen.closed.rcvd is None
    assert not seen.raw
    assert [coin["name"] for coin in meta["universe"]] == ["ETH"]
    assert funding == (500, None)
    assert len(candles) == 3
    assert later.closed is None


def test_a_coin_that_is_listed_later_or_delisted_is_so_beside_the_days_volumes_too() -> None:
    async def act(client: Client) -> Any:
        answers = []
        for bars in (1.0, 2.1, 3.1):
            await client.until(bars)
            answers.append((await client.ask(type="metaAndAssetCtxs"))[1])
        return answers

    faults = (Unlisted(coin="BTC", **span(0, 2)), Delisted(coin="BTC", **span(3, 9)))
    early, listed, late = play(act, *faults)
    assert [coin["name"] for coin in early[0]["universe"]] == ["ETH"]
    assert len(early[1]) == 1
    assert early[1][0]["dayNtlVlm"] != listed[1][0]["dayNtlVlm"]  # joined by position
    assert [coin["name"] for coin in listed[0]["universe"]] == ["BTC", "ETH"]
    assert [coin.get("isDelisted", False) for coin in late[0]["universe"]] == [True, False]
    assert len(late[1]) == 2


def test_a_refused_subscription_ends_sockets_that_have_one_and_is_an_error_frame_on_new_ones() -> (
    None
):
    async def act(client: Client) -> Any:
        held, refused = await client.listen(9), await client.listen(1.5)
        await client.until(2.1)
        return held, refused, await client.listen(4)

    held, refused, later = play(act, Refused(coin="BTC", **span(1, 1)))
    assert held.closed is not None
    assert held.closed.rcvd is None
    (error,) = [json.loads(text) for text in refused.raw]
    assert error["channel"] == "error"
    assert error["data"].startswith('Invalid subscription {"type":"candle","coin":"BTC"')
    assert refused.closed is None
    assert 3 in later.bars


# -- the list of coins and single coins ----------------------------------------------------


def names(meta: Any) -> list[str]:
    return [coin["name"] for coin in meta["universe"]]


def test_a_list_of_coins_can_be_short_empty_or_null() -> None:
    async def act(client: Client) -> Any:
        answers = []
        for bars in (0.5, 1.5, 2.5, 3.5, 4.5):
            await client.until(bars)
            answers.append(await client.ask(type="meta"))
        return answers

    found = play(
        act,
        ShortMeta(coin="ETH", **span(0, 1)),
        ShortMeta(**span(1, 1)),
        ShortMeta(how="empty", **span(2, 1)),
        ShortMeta(how="null", **span(3, 1)),
    )
    assert [status for status, _ in found] == [200] * 5
    assert [names(meta) for _, meta in found[:3]] == [["BTC"], ["OTHER"], []]
    assert found[3][1] is None
    assert names(found[4][1]) == ["BTC", "ETH"]


def test_a_coin_that_fails_fails_alone_and_only_where_it_is_told_to() -> None:
    async def act(client: Client) -> Any:
        await client.until(0.5)
        funding = [
            await client.ask(type="fundingHistory", coin=coin, startTime=0)
            for coin in ("BTC", "ETH")
        ]
        return await client.candles("BTC"), await client.candles("ETH"), funding

    btc, eth, funding = play(act, CoinFails(coin="BTC", of="candles", **span(0, 1)))
    assert btc is None
    assert len(eth) == 1
    assert [status for status, _ in funding] == [200, 200]
    btc, _, funding = play(act, CoinFails(coin="BTC", of="funding", **span(0, 1)))
    assert len(btc) == 1
    assert funding[0] == (500, None)
    assert funding[1][0] == 200


def test_a_delisted_coin_is_marked_and_silent_and_has_no_later_bars() -> None:
    async def act(client: Client) -> Any:
        seen = await client.listen(3.5, ("BTC", "ETH"))
        _, meta = await client.ask(type="meta")
        rows = await client.candles()
        await client.until(5)
        return seen, meta, rows, await client.candles()

    seen, meta, rows, later = play(act, Delisted(coin="BTC", **span(2, 2.5)))
    assert {c["t"] for c in seen.candles if c["s"] == "BTC"} <= {NOW_MS, NOW_MS + BAR}
    assert NOW_MS + 3 * BAR in {c["t"] for c in seen.candles if c["s"] == "ETH"}
    assert [coin.get("isDelisted", False) for coin in meta["universe"]] == [True, False]
    assert rows[-1]["t"] < NOW_MS + 2 * BAR
    assert later[-1]["t"] >= NOW_MS + 4 * BAR


@pytest.mark.parametrize("status", [200, 403, 451, 502])
def test_an_error_of_http_has_the_status_and_the_body_that_are_named(status: int) -> None:
    async def act(client: Client) -> Any:
        return await client.ask(type="meta")

    answers = [
        play(act, HttpError(status=status, body=body, **span(0, 1)))
        for body in ("null", "html", "text")
    ]
    assert [answer[0] for answer in answers] == [status] * 3
    assert answers[0][1] is None
    assert answers[1][1].startswith(f"<html><head><title>{status}</title>")
    assert answers[2][1] == f"error {status}"


# -- pushes --------------------------------------------------------------------------------


def test_a_withheld_last_state_is_missing_from_the_stream_only() -> None:
    async def act(client: Client) -> Any:
        return await client.listen(6, ("BTC", "ETH")), await client.candles()

    seen, rows = play(act, Withhold(coin="BTC", **span(1.1, 2.5)))
    assert seen.last(0) == recorded(0)
    for bar in (1, 2):
        assert seen.last(bar)["n"] < rows[bar]["n"] == recorded(bar)["n"]
        assert seen.last(bar, "ETH")["v"] == str(ETHER.volume[BEGIN + bar])
    assert seen.last(4) == recorded(4)


def test_late_pushes_come_late_and_complete() -> None:
    seen = listen(6, Late(delay_ms=40_000, **span(1, 3)))
    for bar in (1, 2, 4):
        assert seen.last(bar) == recorded(bar)
    lag = [
        at - candle["T"]
        for at, candle in zip(seen.at_ms[1:], seen.candles, strict=True)
        if candle == recorded(2)
    ]
    assert 30_000 < lag[0] < 45_000


def test_reordered_frames_change_places_and_none_is_lost() -> None:
    plain, mixed = listen(6), listen(6, Reorder(**span(1, 3)))
    assert sorted(plain.raw) == sorted(mixed.raw)
    assert plain.raw != mixed.raw
    steps = [c["n"] for c in mixed.candles if c["t"] == NOW_MS + 2 * BAR]
    assert steps != sorted(steps)


def test_duplicated_frames_come_twice() -> None:
    plain, twice = listen(4), listen(4, Duplicate(**span(1.1, 0.9)))
    doubled = [text for text in plain.raw if twice.raw.count(text) == 2]
    assert {json.loads(text)["data"]["t"] for text in doubled} == {NOW_MS + BAR}
    assert set(plain.raw) == set(twice.raw)


@pytest.mark.parametrize("how", ["truncated", "text", "shape"])
def test_malformed_frames_and_answers_cannot_be_read(how: Any) -> None:
    async def act(client: Client) -> Any:
        raw = (await client.listen(1)).raw
        return raw, await client.candles()

    raw, candles = play(act, Malformed(how=how, **span(0, 2)))
    assert json.loads(raw[0])["channel"] == "subscriptionResponse"
    for text in raw[1:]:
        if how == "shape":
            assert json.loads(text)["data"] == {"t": "?"}
        else:
            with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid|delimiter"):
                json.loads(text)
    assert isinstance(candles, dict if how == "shape" else str)


@pytest.mark.parametrize("how", ["bytes", "surrogates", "deep"])
def test_texts_that_no_reader_takes_come_on_both_ways_and_in_all_answers(how: Any) -> None:
    async def act(client: Client) -> Any:
        raw = (await client.listen(1)).raw
        return raw, [await client.raw(body) for body in (META, STATUS, FUNDING)]

    raw, answers = play(act, Malformed(how=how, answers="all", **span(0, 2)))
    for text in [*raw[1:], *answers]:
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
            msgspec.json.decode(text)


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ("nan", lambda c: c["c"] == "NaN"),
        ("infinite", lambda c: c["h"] == "1e999"),
        ("negative", lambda c: float(c["o"]) < 0 and float(c["l"]) < 0),
        ("zero", lambda c: float(c["l"]) == 0),
        ("crossed", lambda c: float(c["l"]) > float(c["h"])),
        ("absurd", lambda c: float(c["l"]) > 1_000_000),
        ("vast", lambda c: float(c["l"]) == float(c["v"]) == 1e300),
        ("huge", lambda c: c["n"] == 2**70),
    ],
)
def test_bad_bars_are_wrong_on_both_ways_and_right_afterwards(numbers: Any, wrong: Any) -> None:
    async def act(client: Client) -> Any:
        seen = await client.listen(4)
        within = await client.candles()
        await client.until(6)
        return seen, within, await client.candles()

    seen, within, after = play(act, BadBar(numbers=numbers, at_ms=2 * BAR, for_ms=3 * BAR))
    assert [wrong(candle) for candle in seen.candles] == [bar >= 2 for bar in seen.bars]
    assert [wrong(row) for row in within[:4]] == [False, False, True, True]
    assert after[:5] == [recorded(bar) for bar in range(5)]


def test_a_bar_from_the_future_comes_beside_the_true_ones() -> None:
    plain, more = listen(3), listen(3, BadBar(numbers="future", where="stream", **span(1, 1)))
    ahead = [candle for candle in more.candles if candle["t"] > NOW_MS + 50 * BAR]
    assert {candle["t"] for candle in ahead} == {NOW_MS + 101 * BAR}
    assert [c for c in more.candles if c not in ahead] == plain.candles


def test_a_market_without_trades_is_silent_and_its_tail_is_missing_until_somebody_trades() -> None:
    async def act(client: Client) -> Any:
        seen = await client.listen(3.5)
        tail = await client.candles()
        await client.until(5)
        return seen, tail, await client.candles()

    seen, tail, after = play(act, NoTrades(coin="BTC", **span(1, 3)))
    assert set(seen.bars) == {0}
    assert len(tail) == 1
    close = recorded(0)["c"]
    assert [(r["o"], r["l"], r["c"], r["v"], r["n"]) for r in after[1:4]] == [
        (close, close, close, "0.0", 0)
    ] * 3
    assert after[4] == recorded(4)


# -- REST ----------------------------------------------------------------------------------


def test_http_errors_have_a_null_body_and_pass() -> None:
    async def act(client: Client) -> Any:
        first = await client.ask(type="exchangeStatus")
        await client.until(1)
        return first, (await client.ask(type="exchangeStatus"))[0]

    assert play(act, HttpError(status=429, **span(0, 1))) == ((429, None), 200)


def test_slow_answers_take_their_time() -> None:
    async def act(client: Client) -> float:
        before = client.exchange.now_ms()
        await client.ask(type="exchangeStatus")
        return client.exchange.now_ms() - before

    assert play(act, Slow(delay_ms=8000, **span(0, 1))) == pytest.approx(8000, abs=500)


def test_stale_answers_lack_the_newest() -> None:
    async def act(client: Client) -> Any:
        await client.until(2.1)
        stale = await client.candles()
        await client.until(3.1)
        return stale, await client.candles()

    stale, fresh = play(act, StaleRest(delay_ms=BAR, **span(2, 1)))
    assert [len(stale), len(fresh)] == [2, 4]
    assert stale[0] == recorded(0)
    assert stale[1] != recorded(1)


def test_a_used_connection_is_dropped_and_a_fresh_one_is_served() -> None:
    async def act(client: Client) -> list[bool]:
        dropped = []
        for _ in range(4):
            try:
                await client.ask(type="exchangeStatus")
                dropped.append(False)
            except aiohttp.ServerDisconnectedError:
                dropped.append(True)
        return dropped

    # The client's library asks once more by itself on a fresh connection, where it may.
    assert play(act, DroppedKeepalive(**span(0, 1))) == [False, True, False, True]


def test_a_jump_of_the_clock_is_seen_in_the_status_alone() -> None:
    async def act(client: Client) -> Any:
        _, status = await client.ask(type="exchangeStatus")
        rows = await client.candles()
        return status["time"] - client.exchange.now_ms(), len(rows)

    ahead, rows = play(act, ClockJump(jump_ms=3_600_000, **span(0, 1)))
    assert ahead == pytest.approx(3_600_000, abs=1000)
    assert rows <= 1


def test_a_replay_with_faults_is_the_same_from_run_to_run() -> None:
    faults = (Late(delay_ms=7000, **span(1, 1)), Reorder(**span(2, 2)), Duplicate(**span(3, 1)))
    first, second = listen(6, *faults), listen(6, *faults)
    assert first.raw == second.raw
    assert first.at_ms == second.at_ms


def test_faults_are_over_when_the_last_one_has_ended() -> None:
    async def act(client: Client) -> list[bool]:
        over = []
        for bars in (0.5, 2.5, 4.5):
            await client.until(bars)
            over.append(client.exchange.faults_over)
        return over

    assert play(act, Expired(at_ms=BAR), Stall(**span(2, 1))) == [False, False, True]


# -- what they did -------------------------------------------------------------------------

EVERY: list[Fault] = [
    Disconnect(**span(1, 1)),
    Expired(at_ms=BAR),
    Stall(**span(1, 1)),
    Withhold(**span(1, 1.1)),
    Late(delay_ms=5000, **span(1, 1)),
    Reorder(**span(1, 1)),
    Duplicate(**span(1, 1)),
    NoTrades(coin="BTC", **span(1, 1)),
    Malformed(**span(1, 1)),
    BadBar(**span(1, 1)),
    HttpError(**span(1, 1)),
    Slow(delay_ms=5000, **span(1, 1)),
    StaleRest(delay_ms=90_000, **span(1, 1)),
    DroppedKeepalive(**span(1, 1)),
    ClockJump(jump_ms=5000, **span(1, 1)),
]


@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.__struct_config__.tag)
def test_a_fault_counts_what_it_changed_for_a_client_and_without_one_nothing(fault: Fault) -> None:
    async def meet(client: Client) -> Any:
        await client.listen(1.4)
        for kind in ("exchangeStatus", "exchangeStatus"):
            with contextlib.suppress(aiohttp.ClientError):
                await client.ask(type=kind)
        with contextlib.suppress(aiohttp.ClientError):
            await client.candles()
        with contextlib.suppress(InvalidHandshake, InvalidMessage, OSError, EOFError):
            await client.listen(3)
        return client.exchange.touched()

    async def stay_away(client: Client) -> Any:
        await client.until(3)
        return client.exchange.touched()

    ((met, did),) = play(meet, fault)
    assert met is fault
    assert did.times >= 1
    ((_, nothing),) = play(stay_away, fault)
    if isinstance(fault, NoTrades):  # a bar has no trades whether anybody looks or not
        assert did.times == nothing.times == 1
        return
    assert nothing.times == 0
    assert nothing.first is None
    begin_s = BAR / 1000 / SPEED
    assert begin_s - 0.1 <= did.first.wall_s <= did.last.wall_s < 2.2 * begin_s


def test_what_is_changed_and_cannot_be_read_counts_for_the_fault_that_hides_it() -> None:
    hidden: list[Fault] = [
        Late(delay_ms=5000, **span(1, 1)),
        Reorder(**span(1, 1)),
        Duplicate(**span(1, 1)),
        BadBar(numbers="zero", where="stream", **span(1, 1)),
    ]

    async def act(client: Client) -> Any:
        await client.listen(3)
        return [did.times for _, did in client.exchange.touched()]

    for cover in (Malformed(where="stream", **span(0, 3)), Stall(**span(0.5, 2))):
        assert [times > 0 for times in play(act, cover, *hidden)] == [True] + 4 * [False]


def test_a_socket_that_is_stalled_does_not_expire_and_nothing_is_counted() -> None:
    async def act(client: Client) -> Any:
        seen = await client.listen(3)
        return seen.closed, [did.times > 0 for _, did in client.exchange.touched()]

    assert play(act, Stall(**span(0.5, 2)), Expired(at_ms=BAR)) == (None, [True, False])


def test_a_refusal_that_a_stalled_socket_never_says_is_not_counted() -> None:
    async def act(client: Client) -> Any:
        await client.until(1.2)
        await client.listen(0.5)
        return [did.times > 0 for _, did in client.exchange.touched()]

    assert play(act, Refused(coin="BTC", **span(1, 1))) == [True]
    assert play(act, Stall(**span(0.5, 2)), Refused(coin="BTC", **span(1, 1)))[1] is False


def test_a_stale_answer_that_lacks_nothing_was_not_touched() -> None:
    async def act(client: Client) -> Any:
        await client.until(2.5)
        req = {
            "coin": "BTC",
            "interval": "5m",
            "startTime": NOW_MS - 5 * BAR,
            "endTime": NOW_MS - 1,
        }
        await client.ask(type="candleSnapshot", req=req)
        return client.exchange.touched()[0][1].times

    assert play(act, StaleRest(delay_ms=BAR, **span(2, 1))) == 0


def test_faults_may_be_added_while_it_runs_but_not_to_the_past() -> None:
    async def act(client: Client) -> Any:
        listening = asyncio.create_task(client.listen(7))
        await client.until(2)
        client.exchange.add_faults([NoTrades(coin="BTC", **span(3, 2)), Duplicate(**span(6, 1))])
        with pytest.raises(BadInput, match="is past"):
            client.exchange.add_faults([Duplicate(**span(1, 1))])
        with pytest.raises(BadInput, match="write BTC or ETH"):
            client.exchange.add_faults([Duplicate(coin="SOL", **span(6, 1))])
        seen = await listening
        return seen, await client.candles(), [did.times for _, did in client.exchange.touched()]

    seen, rows, times = play(act)
    assert set(seen.bars) == {0, 1, 2, 5, 6}
    assert [row["n"] == 0 for row in rows[:6]] == [False, False, False, True, True, False]
    assert rows[2] == recorded(2)
    doubled = {seen.raw.count(text) for text in seen.raw if b'"t":%d' % (NOW_MS + 6 * BAR) in text}
    assert doubled == {2}
    assert times[0] == 2
    assert times[1] >= 2
