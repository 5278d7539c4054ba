"""Judge the signals of a model: whether both sides happen, and what they earn."""

from typing import Final

from retrain.deciding.decision import DOWN, NEUTRAL, UP
from retrain.judging.gate_limits import Gate
from retrain.scores import Scores

_SIDES: Final = {"DOWN": DOWN, "UP": UP}


def all_classes(
    train: Scores, test: Scores, quietest: tuple[float, float, float], limit: float
) -> Gate:
    """Refuse a model one of whose decisions hardly happens.

    A model that is not expected to earn gives few signals, and in a calm month still fewer. So a
    share of DOWN or UP below the limit is refused only where it is surely below: where the upper
    end of its interval is too, and every stretch of the training block had more. None at all is
    always refused.

    Args:
        train: Scores on the training block, whose class shares may explain a refusal.
        test: Scores on the test block.
        quietest: Least share of each decision in any stretch of the training block as long as it.
        limit: The least share, a fraction.
    """
    decided = test.decisions
    down, neutral, up = decided.shares
    value = min(decided.shares)
    few = [name for name, side in _SIDES.items() if decided.shares[side] < limit]
    surely = [
        name
        for name in few
        if decided.shares[_SIDES[name]] < quietest[_SIDES[name]]
        and decided.shares_high[_SIDES[name]] < limit
    ]
    none = [name for name in few if decided.shares[_SIDES[name]] == 0]
    passed = decided.shares[NEUTRAL] >= limit and not surely and not none
    text = f"DOWN {down:.1%}, NEUTRAL {neutral:.1%}, UP {up:.1%} of the test decisions"
    text += f": each {'is' if value >= limit else 'should be'} at least {limit:.1%}"
    if passed and few:
        text += f", and chance or a calm market may explain so few {' and '.join(few)}"
    was, is_now = train.class_shares[NEUTRAL], test.class_shares[NEUTRAL]
    if not passed and few and is_now > was:
        text += f"; the market was calmer there, NEUTRAL {is_now:.0%} after {was:.0%} in training"
    return Gate("all_classes", value, limit, passed, text, "both BUY and SELL must happen")


def earns(test: Scores, mode: str) -> Gate:
    """Tell what a signal earns, or refuse a model whose signals are not shown to earn.

    Args:
        test: Scores on the test block.
        mode: `tell` or `refuse`.
    """
    earned = test.decisions.earned
    passed = mode == "tell" or earned.verdict == "shown"
    why = "a model may know when the market moves and not where, and then every signal costs"
    return Gate("earns", earned.mean_bp, 0.0, passed, str(earned), why)
