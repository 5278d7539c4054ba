import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.web.data.summary import drift_bars, summary, win_share
from tests.daemon.web.data.test_needs import NOW_MS, SERVING, SLOT


def test_the_feature_with_the_most_evidence_comes_first() -> None:
    bars = drift_bars({"b": 0.5, "a": 0.5, "c": 2.0})
    assert [bar.feature for bar in bars] == ["c", "a", "b"]
    state = msgspec.structs.replace(SERVING, drift={"b": 0.5, "c": 2.0})
    top = summary(SLOT, state, (), NOW_MS).top_drift
    assert top is not None
    assert (top.feature, top.evidence) == ("c", 2.0)
    assert summary(SLOT, SERVING, (), NOW_MS).top_drift is None


def test_a_share_has_an_interval_from_thirty_outcomes_on() -> None:
    few = msgspec.structs.replace(SERVING, win_rate=0.5, win_rate_count=29, win_rate_of="signals")
    assert (win_share(few).low, win_share(few).of) == (None, "signals")
    # Wilson's interval of 55 in 100, as in Agresti and Coull (1998).
    some = win_share(msgspec.structs.replace(SERVING, win_rate=0.55, win_rate_count=100))
    assert some.low == pytest.approx(0.4524, abs=5e-4)
    assert some.high == pytest.approx(0.6438, abs=5e-4)
    assert (some.value, some.count, some.of) == (0.55, 100, "trades")


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 100), st.data())
def test_the_interval_holds_the_share_and_stays_between_none_and_all(
    count: int, data: st.DataObject
) -> None:
    share = data.draw(st.integers(0, count)) / count
    found = win_share(msgspec.structs.replace(SERVING, win_rate=share, win_rate_count=count))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= share + 1e-12
    assert share - 1e-12 <= found.high <= 1
