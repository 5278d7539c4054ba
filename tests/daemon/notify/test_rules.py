import re
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config.notify_times import QuietHours, zone_of
from daemon.notify.notice import Notice
from daemon.notify.rules import CALM_MS, GATHER_MS, Rules, RulesState
from daemon.notify.wording import Wording
from daemon.runtime.announcements import Announcement, announced
from hyperdrift.slot_name import DAY_MS, HOUR_MS

NOON = 1_750_075_200_000  # 2025-06-16, a Monday, 12:00 UTC
UTC = zone_of("UTC")
NIGHT = QuietHours.parse("22:00-07:00", UTC)
MINUTE = 60_000


def rules(
    quiet: QuietHours | None = None, most: int = 20, state: RulesState | None = None
) -> Rules:
    return Rules(state or RulesState(), Wording(UTC), quiet, most)


def told(
    kind: str, text: str, at_ms: int = NOON, slot: str = "BTC-5m", **fields: Any
) -> Announcement:
    return announced(slot, {"kind": kind, "at_ms": at_ms, "text": text, **fields})


def silence(slot: str = "BTC-5m", at_ms: int = NOON, *, over: bool = False) -> Announcement:
    if over:
        return told("trouble_over", f"no bar of {slot}", at_ms, slot, trouble="silence")
    text = f"no bar of {slot}"
    return told("alert", text, at_ms, slot, severity="critical", trouble="silence")


def sent_until(of: Rules, from_ms: int, to_ms: int, step_ms: int = MINUTE // 4) -> list[Notice]:
    return [one for ms in range(from_ms, to_ms + 1, step_ms) for one in of.due(ms)]


def test_a_model_that_went_live_is_told_once_with_slot_reason_time_and_what_to_do() -> None:
    ours = rules()
    live = told("swapped", "20250616_1 is live: drift of rv_1h", model_id="20250616_1")
    ours.take(live, NOON)
    ours.take(live, NOON + 5)
    assert ours.due(NOON + GATHER_MS - 1) == []
    (message,) = sent_until(ours, NOON + GATHER_MS, NOON + HOUR_MS)
    assert message.title == "BTC-5m: model live"
    assert message.text.split("\n") == [
        "20250616_1 is live: drift of rv_1h",
        "Nothing to do: if it is worse than the one before, it goes back.",
        "Mon 16 Jun 12:00",
    ]


def test_drift_refusals_and_decisions_are_not_told() -> None:
    ours = rules()
    for kind in ("drift", "decision", "challenge", "verdict", "feed_fault", "retrain_started"):
        assert not ours.take(told(kind, "something"), NOON)
    ours.take(told("retrain_finished", "refused by overfit", passed=False), NOON)
    ours.take(told("win_rate", "7 losses in a row", cause="streak"), NOON)
    assert sent_until(ours, NOON, NOON + HOUR_MS) == []


def test_a_retrain_that_waits_too_long_for_its_turn_is_told_once_and_not_at_night() -> None:
    text = "a retrain has waited 1 h for its turn, it is 9 of 40 in the queue: add workers"
    late, alert = told("retrain_late", text, job="j"), told("alert", text, severity="warning")
    ours = rules()
    for one in (late, alert, late):
        ours.take(one, NOON)
    (message,) = sent_until(ours, NOON, NOON + HOUR_MS)
    assert (message.title, message.weight) == ("BTC-5m: retrains wait", "warning")
    assert text in message.text
    ours, night = rules(NIGHT), NOON + 11 * HOUR_MS
    ours.take(told("retrain_late", text, night, job="j"), night)
    assert sent_until(ours, night, night + 7 * HOUR_MS) == []
    assert len(sent_until(ours, night + 7 * HOUR_MS, night + 9 * HOUR_MS)) == 1


def test_three_retrains_in_a_row_without_a_model_are_told_once() -> None:
    ours = rules()
    for hour in range(5):
        one = told("retrain_finished", "refused by overfit", NOON + hour * HOUR_MS, passed=False)
        ours.take(one, NOON + hour)
        ours.take(one, NOON + hour)
    ours.take(told("retrain_finished", "it passed", NOON + 6 * HOUR_MS, passed=True), NOON)
    ours.take(told("retrain_failed", "no memory", NOON + 7 * HOUR_MS), NOON)
    (message,) = sent_until(ours, NOON, NOON + HOUR_MS)
    assert message.title == "BTC-5m: 3 retrains without a model"


def test_what_happens_to_many_slots_within_a_minute_is_one_message_with_its_slots() -> None:
    ours, slots = rules(), [f"C{n}-5m" for n in range(40)]
    for n, slot in enumerate(slots):
        ours.take(silence(slot), NOON + n * 1000)
    (message,) = sent_until(ours, NOON, NOON + HOUR_MS)
    assert message.title == "40 slots: no bars"
    assert "C0-5m, C1-5m" in message.text
    assert message.weight == "critical"
    assert len(message.text) < 1800


def test_a_trouble_that_comes_and_goes_sends_no_ten_messages() -> None:
    ours, sent = rules(), list[Notice]()
    for minute in range(0, 60, 4):
        ours.take(silence(at_ms=NOON + minute * MINUTE), NOON + minute * MINUTE)
        sent += sent_until(ours, NOON + minute * MINUTE, NOON + (minute + 2) * MINUTE)
        over = silence(at_ms=NOON + (minute + 2) * MINUTE, over=True)
        ours.take(over, NOON + (minute + 2) * MINUTE)
        sent += sent_until(ours, NOON + (minute + 2) * MINUTE, NOON + (minute + 4) * MINUTE - 1)
    assert [one.title for one in sent] == ["BTC-5m: no bars"]
    sent = sent_until(ours, NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    assert [one.title for one in sent] == ["BTC-5m: over"]
    ours.take(silence(at_ms=NOON + 3 * HOUR_MS), NOON + 3 * HOUR_MS)
    assert len(sent_until(ours, NOON + 3 * HOUR_MS, NOON + 4 * HOUR_MS)) == 1


def test_a_trouble_of_a_moment_is_not_told() -> None:
    ours = rules()
    ours.take(silence(), NOON)
    ours.take(silence(at_ms=NOON + 20_000, over=True), NOON + 20_000)
    assert sent_until(ours, NOON, NOON + HOUR_MS) == []
    assert not ours.state.open


def test_why_a_model_went_back_is_said_once() -> None:
    ours = rules()
    why = "worse than 20250615_1: 41 of 60 pairs"
    ours.take(told("alert", f"20250616_1 is {why}", severity="critical"), NOON)
    ours.take(told("rolled_back", f"20250615_1 is live: {why}", NOON + 800), NOON + 800)
    (message,) = sent_until(ours, NOON, NOON + HOUR_MS)
    assert message.title == "BTC-5m: rolled back"
    assert message.text.count(why) == 1


def test_a_bot_that_refuses_is_to_be_mended_though_the_model_went_back_by_itself() -> None:
    ours = rules()
    why = "bot paper refused 20250616_1: no onnxruntime"
    ours.take(told("swap_refused", why, severity="critical"), NOON)
    ours.take(told("rolled_back", f"20250615_1 is live: {why}", NOON + 800), NOON + 800)
    (message,) = sent_until(ours, NOON, NOON + HOUR_MS)
    assert message.title == "BTC-5m: bot refuses, rolled back"
    assert message.text.count(why) == 1
    assert "Mend the bot" in message.text
    assert "Nothing to do" not in message.text


def test_in_quiet_hours_only_what_is_critical_is_sent_and_the_rest_in_one_message() -> None:
    ours, evening = rules(NIGHT), NOON + 11 * HOUR_MS
    ours.take(told("swapped", "m1 is live", evening), evening)
    ours.take(told("swapped", "m2 is live", evening + 9, slot="ETH-5m"), evening)
    night = sent_until(ours, evening, evening + 2 * HOUR_MS)
    ours.take(silence(at_ms=evening + HOUR_MS), evening + 2 * HOUR_MS)
    night += sent_until(ours, evening + 2 * HOUR_MS, evening + 8 * HOUR_MS - 1)
    assert [one.title for one in night] == ["BTC-5m: no bars"]
    (morning,) = sent_until(ours, evening + 8 * HOUR_MS, evening + 12 * HOUR_MS)
    assert morning.title == "2 news: model live (2)"
    assert "23:00 BTC-5m: model live: m1 is live" in morning.text


def test_what_is_more_than_the_hour_allows_comes_in_one_message() -> None:
    ours, sent = rules(most=3), list[Notice]()
    for n in range(9):
        at_ms = NOON + 2 * n * MINUTE
        ours.take(told("swapped", f"m{n} is live", at_ms, slot=f"C{n}-5m"), at_ms)
        sent += sent_until(ours, at_ms, at_ms + 2 * MINUTE - 1)
    assert [one.title for one in sent] == [f"C{n}-5m: model live" for n in range(3)]
    (summary,) = sent_until(ours, NOON + HOUR_MS, NOON + 61 * MINUTE + 59_999)
    assert summary.title == "6 news: model live (6)"


def test_after_a_restart_nothing_is_sent_twice_and_what_waited_is_sent() -> None:
    ours = rules()
    first, second = told("swapped", "m1 is live"), told("swapped", "m2 is live", NOON + HOUR_MS)
    ours.take(first, NOON)
    ours.take(silence(), NOON)
    assert len(sent_until(ours, NOON, NOON + HOUR_MS)) == 1
    ours.take(second, NOON + HOUR_MS)
    again = rules(state=ours.state)
    again.restarted(NOON + HOUR_MS)
    for one in (first, silence(), second):  # the journal of the last day
        again.take(one, NOON + HOUR_MS)
    (message,) = sent_until(again, NOON + HOUR_MS, NOON + 4 * HOUR_MS)
    assert message.text.startswith("m2 is live")


def test_a_trouble_that_ended_while_nobody_ran_is_over_some_time_later() -> None:
    ours = rules()
    ours.take(silence(), NOON)
    sent_until(ours, NOON, NOON + HOUR_MS)
    ours.restarted(NOON + HOUR_MS)
    sent = sent_until(ours, NOON + HOUR_MS, NOON + 4 * HOUR_MS)
    assert [one.title for one in sent] == ["BTC-5m: over"]


def test_what_has_no_room_is_counted() -> None:
    ours = rules(most=1)
    for n in range(700):
        ours.take(told("alert", f"fault {n}", severity="critical"), NOON)
    (message,) = sent_until(ours, NOON, NOON + 2 * MINUTE)
    assert message.title.startswith("700 news")


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40 * 60),  # seconds since the one before
        st.sampled_from(["A-5m", "B-5m", "C-5m"]),
        st.sampled_from(["swapped", "rolled_back", "alert", "win_rate"]),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.integers(1, 4), st.booleans())
def test_each_is_sent_once_none_is_lost_and_no_hour_has_more_than_it_may(
    happened: list[tuple[int, str, str]], most: int, has_night: bool
) -> None:
    ours, sent, at_ms = rules(NIGHT if has_night else None, most), list[tuple[int, Notice]](), NOON
    for n, (after_s, slot, kind) in enumerate(happened):
        for _ in range(max(1, after_s // 30)):
            at_ms += 1000 * min(after_s, 30)
            sent += [(at_ms, one) for one in ours.due(at_ms)]
        severity = "critical" if kind == "alert" else "info"
        ours.take(told(kind, f"<{n}>", at_ms, slot, severity=severity, cause="floor"), at_ms)
    for ms in range(at_ms, at_ms + 3 * DAY_MS, 5 * MINUTE):
        sent += [(ms, one) for one in ours.due(ms)]
    for ms, _ in sent:
        assert sum(ms - HOUR_MS < other <= ms for other, _ in sent) <= most
    whole = "\n".join(one.text for _, one in sent)
    counts = Counter(f"<{n}>" for n in range(len(happened)) if f"<{n}>" in whole)
    more = sum(map(int, re.findall(r"^and (\d+) more", whole, re.MULTILINE)))
    assert len(counts) + more == len(happened)
    assert all(whole.count(f"<{n}>") <= 1 for n in range(len(happened)))
    assert not ours.state.waiting


def test_a_trouble_is_calm_only_after_minutes() -> None:
    assert 5 * MINUTE <= CALM_MS <= HOUR_MS


def test_after_a_change_of_the_market_the_new_models_of_its_slots_are_one_message() -> None:
    ours, sent = rules(), list[Notice]()
    slots = [f"C{number}-5m" for number in range(60)]
    ours.take(told("market_drift", "the market changed: 60 slots", slot="", slots=slots), NOON)
    for number, slot in enumerate(slots):
        now = NOON + number * 12_000
        ours.take(told("swapped", f"{number} is live", now, slot), now)
        sent += ours.due(now)
    sent += sent_until(ours, NOON + 60 * 12_000, NOON + 3 * HOUR_MS)
    assert [one.title for one in sent] == ["hyperdrift: market changed", "60 slots: model live"]
    later = NOON + 4 * HOUR_MS
    ours.take(told("swapped", "61 is live", later), later)
    assert ours.due(later + GATHER_MS) != []
