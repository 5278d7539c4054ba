"""What `hyperdrift status` says of a slot."""

import re
from typing import Any

import pytest
from rich.text import Text

from daemon.admin.status_text import show_status


def document(**state: Any) -> dict[str, Any]:
    """Return what `status` finds, with one slot."""
    given: dict[str, Any] = {
        "phase": "probation",
        "model_id": "20250101_000000_abc",
        "model_age_s": 90_000,
        "win_rate": 0.52,
        "trades": 31,
        "drift": {"mom_1": 0.4},
        "lag_ms": 12,
        "retrain": None,
        "pnl_7d": -12.5,
        "waiting_for": "wait: the live model is still on probation",
        "probation": None,
        "last_bar_t": None,
        "mismatch": None,
    }
    return {"status": {"state": "online"}, "slots": {"BTC-5m": given | state}}


def shown(capsys: Any, **state: Any) -> str:
    show_status(document(**state))
    return " ".join(capsys.readouterr().out.split())


def test_it_tells_the_weeks_result_and_what_the_policy_decided(capsys: Any) -> None:
    text = shown(capsys)
    assert "P&L, 7 days -12.50" in text
    assert "decision wait: the live model is still on probation" in text
    assert "pairs" not in text


def test_it_tells_what_the_labels_of_the_live_model_are(capsys: Any) -> None:
    assert "labels moves of more than 1%" in shown(capsys, labels="moves of more than 1%")
    assert "labels" not in shown(capsys, labels="")
    assert "labels" not in shown(capsys)  # of an older daemon


def test_it_says_how_far_a_retrain_is_or_its_place_in_the_queue(capsys: Any) -> None:
    job = {"job": "j", "step": "fit", "percent": 41.4}
    assert "BTC-5m: retraining fit 41 %" in shown(capsys, phase="retraining", retrain=job)
    waits = job | {"step": "waiting", "percent": 0.0, "place": 3, "waiting": 12}
    text = shown(capsys, phase="retraining", retrain=waits)
    assert "BTC-5m: waiting, 3rd of 12 " in text


def test_it_names_the_gates_that_refused_the_last_candidate_and_when_the_next_may_start(
    capsys: Any,
) -> None:
    refusal = {
        "at_ms": 1_750_000_200_000,
        "model_id": "20250615_151000_abc",
        "refused_by": ["overfit", "beats_prior"],
        "error": "",
        "next_ms": 1_750_086_600_000,
    }
    text = shown(capsys, refusal=refusal)
    assert "UTC, refused by overfit, beats_prior (20250615_151000_abc)" in text
    assert "the next may start at 2025-06-16 15:10 UTC, a forced one at any time" in text
    assert "failed: no disk" in shown(capsys, refusal=refusal | {"error": "no disk"})
    assert "last retrain" not in shown(capsys)


def test_it_names_the_column_in_which_a_bots_features_differ(capsys: Any) -> None:
    differs = {"t": 1_750_000_200_000, "column": "mom_1", "theirs": 0.1, "ours": 0.2}
    text = shown(capsys, mismatch=differs | {"others": 0, "bars": 1, "clean": 0})
    assert (
        "features the bot's features are not the daemon's: mom_1 of the bar of 2025-06-15" in text
    )
    assert "features the bot's" not in shown(capsys)


def test_it_lists_every_bot_and_what_is_wrong_with_it(capsys: Any) -> None:
    fine = {"bot_id": "", "online": True, "model_id": "m1", "waiting_for": ""}
    fine["silent_since_ms"] = None
    bots = [
        {**fine, "bot_id": "fine"},
        {**fine, "bot_id": "gone", "online": False},
        {**fine, "bot_id": "mute", "silent_since_ms": 1_750_000_000_000},
        {**fine, "bot_id": "new", "model_id": "", "waiting_for": "the disk is away"},
    ]
    text = shown(capsys, bots=bots)
    assert "bot fine m1 bot gone is gone bot mute m1; no prediction since 2025-06-15" in text
    assert "bot new no model yet; waits: the disk is away" in text


def test_a_probation_is_told_of_before_and_after_the_first_outcome(capsys: Any) -> None:
    bounds = {"excess_if_previous_right": 0.02, "excess_if_new_right": -0.01}
    early = {"bars": 3, "pairs": 0, "evidence": 1.0, **bounds}
    text = shown(capsys, probation=early)
    assert "+0.020 nats a bar if the previous model is right, -0.010 if the new one is" in text
    text = shown(capsys, probation=early | {"pairs": 4, "evidence": 2.5, "excess": 0.1})
    assert "+0.100 nats against the previous model over 4 pairs, evidence 2.5 : 1" in text


def test_an_estimate_of_a_probation_is_shown_with_its_interval(capsys: Any) -> None:
    figures = {"bars": 50, "pairs": 4, "evidence": 2.5, "excess": 0.1}
    text = shown(capsys, probation=figures | {"excess_low": -0.05, "excess_high": 0.25})
    known = "+0.100 nats against the previous model, 95 % -0.050 to +0.250, over 4 pairs"
    assert known in text


def test_it_tells_what_signals_and_trades_earn_after_costs(capsys: Any) -> None:
    record = {"count": 212, "mean_bp": 4.1, "low_bp": -2.0, "high_bp": 10.3, "verdict": "not shown"}
    few = {"count": 3, "mean_bp": -1.5, "low_bp": None, "high_bp": None, "verdict": "too few"}
    none = {**few, "count": 0, "mean_bp": None}
    earning = {
        "signals": {"of_model": record, "since_start": record},
        "trades": {"of_model": none, "since_start": few},
    }
    text = shown(capsys, earning=earning)
    line = "earns +4.1 bp a signal after costs, 95 % -2.0 to +10.3 on 212 signals: not shown"
    assert line in text
    assert text.count("212 signals") == 1
    assert "earns no trades of this model yet" in text
    assert "-1.5 bp a trade after costs on 3 trades: too few, since the start" in text


def test_it_tells_how_often_the_live_model_speaks(capsys: Any) -> None:
    figures = {"bars": 576, "share": 0.1503, "expected": 0.012, "too_often": True}
    said = "speaks on 15.0% of 576 bars, expected 1.2%; more than it was made for"
    assert said in shown(capsys, speaking=figures)
    assert "speaks" not in shown(capsys, speaking=figures | {"expected": None})


def test_it_tells_what_became_of_the_bots_trades(capsys: Any) -> None:
    assert "; 7 more were opened before this model" in shown(capsys, trades_before=7)
    counts = {"taken": 3, "no_slot": {"SOL": 2, "ETH": 1}, "bad": {"it is no JSON": 4}, "new": 1}
    first = {"first_bad": "[/b]nonsense[red] (it is no JSON)", "trouble": "it is packed"}
    show_status({"status": {"state": "online", "trades": {"file": counts | first}}, "slots": {}})
    text = " ".join(capsys.readouterr().out.split())
    assert "trades (file) 3 counted; 3 trades of SOL (2), ETH (1) belong to no slot" in text
    assert "4 bad (4 because it is no JSON), the first is [/b]nonsense[red]" in text
    assert text.endswith("it is packed")


def test_a_state_that_is_none_is_one_line(capsys: Any) -> None:
    show_status({"status": {"state": "online"}, "slots": {"BTC-5m": {"phase": "serving"}}})
    said = capsys.readouterr().out
    assert "BTC-5m: what is published of it is no state of this version (" in said
    assert len(said.splitlines()) == 2


REFUSED = {
    "at_ms": 1_750_000_200_000,
    "model_id": "20250615_151000_abc",
    "refused_by": ["calibrated"],
    "error": "",
    "next_ms": 1_750_086_600_000,
    "detail": "calibration error NEUTRAL 0.070 beyond chance: the largest is beyond 0.05",
}


def test_it_tells_what_the_gate_said_and_when_the_next_retrain_may_start_and_what_starts_it(
    capsys: Any,
) -> None:
    text = shown(
        capsys,
        phase="serving",
        refusal=REFUSED,
        last_bar_t=1_750_000_200_000,
        may_retrain_ms=1_750_086_600_000,
        causes=["drift of a feature", "a model older than 30 days"],
    )
    assert "refused by calibrated (20250615_151000_abc) calibration error NEUTRAL 0.070" in text
    assert "next retrain Not before 2025-06-16 15:10 UTC" in text
    assert "drift of a feature or a model older than 30 days" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    long: dict[str, Any] = {
        "refusal": REFUSED,
        "trouble": "the venue lists no coin kBONK: did you mean kPEPE? " * 3,
        "labels": "UP and DOWN are moves of more than 0.5% in 12 bars: as configured",
        "waiting_for": "wait: " + "a bot cannot load what would be trained, " * 4,
    }
    plain = shown(capsys, **long)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    show_status(document(**long))
    styled = capsys.readouterr().out
    assert re.search(r"\x1b\[[349]\d", styled) is None  # dim is no colour
    told = Text.from_ansi(styled).plain
    assert max(map(len, told.splitlines())) <= width
    assert told.split() == plain.split()
