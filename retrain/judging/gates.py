"""Judge whether a model may go live: every gate, its limit and its verdict.

Each gate detects a fault that the others do not. The verdicts are stored with the model as its
certificate, so that a bot can refuse a version that was never judged.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

from retrain.deciding.block_bootstrap import Interval
from retrain.forms.load_proof import PORTABLE_TOLERANCE, LoadProof
from retrain.judging.gate_limits import Gate, GateLimits
from retrain.judging.provenance import AnchorMatch
from retrain.judging.signal_gates import all_classes, earns
from retrain.labels import CLASS_NAMES, NEUTRAL
from retrain.scores import Scores

MIB: Final = 2**20
_FEW_NEUTRAL: Final = 0.55
"""With fewer rows, hardly any good model reaches the limits of accuracy."""
_UNKNOWN: Final = Interval(math.nan, math.nan)
_NEVER_QUIET: Final = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Challenger compared with champion on rows that neither was trained on.

    `difference` is the challenger's log loss minus the champion's, relative to the champion's;
    None, with `skipped` saying why, where they cannot be compared.
    """

    rows: int = 0
    difference: float | None = None
    interval: Interval = _UNKNOWN
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The measurements of the twin.

    `train` has the scores on the rows that the twin was fitted to, which show overfitting.
    `label_faults` counts rows whose label contradicts the prices, `leaked_rows` training rows
    whose label reaches into the test block. `parity` is the largest difference between trained
    and served features, `provenance` the comparison with the bars the champion learnt from.
    `quietest` is the least share of each decision in any stretch of the training block as long as
    the test block. `learnt` is the interval of the skill out of fold, on the labels of the fit.
    """

    train: Scores
    test: Scores
    label_faults: int
    leaked_rows: int
    parity: float
    champion: Comparison
    provenance: AnchorMatch = field(default_factory=AnchorMatch)
    quietest: tuple[float, float, float] = _NEVER_QUIET
    learnt: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The measurements of the saved files.

    `joblib` and `onnx` are the proofs of the two forms, if they were `proved`; `size_bytes` is the
    size of the larger file.
    `share_shift` is by how much the mean probabilities of the refit on the test rows differ most
    from its twin's and from the class shares there, and from all between the two;
    `lean_correlation` is the correlation of their p_up - p_down; both None if there was no refit.
    """

    joblib: LoadProof
    onnx: LoadProof
    size_bytes: int
    share_shift: float | None = None
    lean_correlation: float | None = None
    proved: bool = True


def judge(evidence: Evidence, limits: GateLimits) -> tuple[Gate, ...]:
    """Judge the twin by its measurements on the test block."""
    train_accuracy, test_accuracy, overfit, calibrated = market_gates(evidence, limits)
    told = f"{test_accuracy.verdict}; of the decisions {evidence.test.decisions.signals_told}"
    return (
        train_accuracy,
        replace(test_accuracy, verdict=told),
        all_classes(evidence.train, evidence.test, evidence.quietest, limits.all_classes),
        overfit,
        _beats_prior(evidence, limits.beats_prior),
        _direction(evidence, limits.direction),
        calibrated,
        earns(evidence.test, limits.earns),
        beats_champion(evidence.champion, limits.beats_champion),
        _parity(evidence.parity, limits.parity),
        _same_bars(evidence.provenance, limits.same_bars),
    )


def market_gates(evidence: Evidence, limits: GateLimits) -> tuple[Gate, Gate, Gate, Gate]:
    """Judge by accuracy and calibration, which fail where the market is not the one learnt from.

    Returns:
        train_accuracy, test_accuracy, overfit and calibrated.
    """
    accuracies = _accuracy(evidence, limits)
    return (
        *accuracies,
        _overfit(evidence, limits.overfit),
        _calibrated(evidence, limits.calibrated),
    )


def judge_shipped(shipped: Shipped, limits: GateLimits) -> tuple[Gate, ...]:
    """Judge the saved files, which would go live."""
    refit = () if shipped.share_shift is None else (_refit_agrees(shipped, limits.refit_agrees),)
    return (*refit, _loads(shipped, limits.loads), _budget(shipped, limits))


def _accuracy(evidence: Evidence, limits: GateLimits) -> tuple[Gate, Gate]:
    # Of decisions it would say little: they are rare by design, however much the model knows.
    why = "a model below this cannot be traded, whatever else it does well"
    gates = []
    for name, scores, limit in (
        ("train_accuracy", evidence.train, limits.train_accuracy),
        ("test_accuracy", evidence.test, limits.test_accuracy),
    ):
        value = scores.argmax.accuracy
        passed = value > limit
        text = f"{name.replace('_', ' ')} {value:.3f} of the most probable class is "
        text += f"{_above(passed)} {limit:g}"
        neutral = scores.class_shares[NEUTRAL]
        if not passed and neutral < _FEW_NEUTRAL:
            text += f", which is a limit for about 70 % NEUTRAL and {neutral:.0%} are: a slot"
            text += " without a threshold in the configuration gets one that fits its bars"
        gates.append(Gate(name, value, limit, passed, text, why))
    return gates[0], gates[1]


def _overfit(evidence: Evidence, limit: float) -> Gate:
    train, test = evidence.train, evidence.test
    value = train.argmax.accuracy - test.argmax.accuracy
    why = "what was learnt by heart is worth nothing on the next bar"
    if evidence.leaked_rows:
        text = f"{evidence.leaked_rows} training rows reach into the test block"
    elif value >= limit:
        text = f"train accuracy is {value:.3f} above test accuracy, allowed is less than {limit:g}"
    elif train.log_loss < test.log_loss / 2:
        text = f"train log loss {train.log_loss:.3f} is below half of test's {test.log_loss:.3f}"
    else:
        text = f"train accuracy minus test accuracy is {value:+.3f}, below {limit:g}"
        return Gate("overfit", value, limit, passed=True, verdict=text, why=why)
    return Gate("overfit", value, limit, passed=False, verdict=text, why=why)


def _beats_prior(evidence: Evidence, limit: float) -> Gate:
    """Refuse a skill that is not surely above the limit on the test block, or out of fold.

    Fitted to noise, a model still leans somewhere, and half of the time the test block likes it.
    """
    test, learnt = evidence.test, evidence.learnt
    low, high = test.skill_interval
    taught = learnt is None or learnt.low > limit
    passed = low > limit and taught
    text = f"skill {test.skill:.4f}, 95 % interval {low:.4f} to {high:.4f}, is"
    text += f"{'' if low > limit else ' not surely'} above {limit:g}"
    if learnt is not None and not taught:
        text += f"; out of fold on the training block, {learnt.low:.4f} to {learnt.high:.4f}, it is"
        text += " not: there was nothing to learn from its labels"
    why = "a model that knows no more than the class shares is noise"
    return Gate("beats_prior", test.skill, limit, passed, text, why)


def _direction(evidence: Evidence, limit: float) -> Gate:
    low, high = evidence.test.ic_interval
    why = "swapped UP and DOWN look fine in every other score and lose money on every trade"
    value = evidence.test.ic
    passed = evidence.label_faults == 0 and high >= limit
    if evidence.label_faults:
        text = f"{evidence.label_faults} labels are not what the price did"
    else:
        text = f"correlation with the future return {value:+.4f} (95 % {low:+.4f} to {high:+.4f})"
        text += " is not negative beyond its interval" if passed else ": UP and DOWN are reversed"
    return Gate("direction", value, limit, passed, text, why)


def _calibrated(evidence: Evidence, limit: float) -> Gate:
    """Refuse a calibration error above the limit that chance does not explain."""
    test = evidence.test
    down, neutral, up = test.calibration
    value = max(test.calibration)
    passed = value <= limit
    text = f"calibration error DOWN {down:.3f}, NEUTRAL {neutral:.3f}, UP {up:.3f} beyond chance: "
    text += f"the largest is {'within' if passed else 'beyond'} {limit:g}"
    text += f" (as measured {max(test.ece):.3f})"
    if not passed:
        text += f"; {_miscalibrated(evidence, test.calibration.index(value), limit)}"
    why = "thresholds on probabilities mean nothing if the probabilities do not come true"
    return Gate("calibrated", value, limit, passed, text, why)


def _miscalibrated(evidence: Evidence, worst: int, limit: float) -> str:
    """Return what was expected of a class, what happened, and what the market has to do with it."""
    test, name = evidence.test, CLASS_NAMES[worst]
    expected, happened = test.mean_probabilities[worst], test.class_shares[worst]
    text = f"{name} was expected on {expected:.1%} of the bars and happened on {happened:.1%}"
    was, is_now = evidence.train.class_shares[NEUTRAL], test.class_shares[NEUTRAL]
    if abs(is_now - was) <= limit:
        return f"{text}: it is too sure or not sure enough of single bars"
    mood = "calmer" if is_now > was else "wilder"
    text += f", because the market was {mood} than learnt: NEUTRAL were {was:.0%} in training and "
    text += f'{is_now:.0%} when judged; where that lasts, threshold = "vol:0.8" has labels follow '
    return f"{text}volatility"


def beats_champion(champion: Comparison, limit: float) -> Gate:
    """Refuse a model that is significantly worse, or whose mean loss is worse by the tolerance.

    The first rule alone would pass a worse model whenever the rows are few and the interval is
    wide. The second alone would pass one that is significantly but slightly worse.
    """
    name, why = "beats_champion", "a newer model is not a better one until it shows"
    if champion.difference is None:
        return Gate(name, None, limit, passed=True, verdict=champion.skipped, why=why)
    low, high = champion.interval
    passed = low <= 0 and champion.difference <= limit
    text = f"log loss {champion.difference:+.2%} against the champion's on {champion.rows} rows "
    text += f"that neither trained on (95 % {low:+.2%} to {high:+.2%})"
    text += ": not worse" if passed else ": worse"
    return Gate(name, champion.difference, limit, passed, text, why)


def _parity(value: float, limit: float) -> Gate:
    passed = value <= limit
    text = f"features served live differ from those trained on by {value:.1e} at most"
    text += f", {'within' if passed else 'beyond'} {limit:.0e}"
    why = "a model fed other numbers than it learnt from answers another question"
    return Gate("parity", value, limit, passed, text, why)


def _same_bars(found: AnchorMatch, limit: float) -> Gate:
    name, why = "same_bars", "a model of another coin looks as good as one of this coin"
    if not found.known:
        text = "no earlier version has kept bars of this time to compare with"
        return Gate(name, None, limit, passed=True, verdict=text, why=why)
    value = found.differing / found.known
    text = f"{found.known - found.differing} of {found.known} bars that the live model learnt from"
    text += " are the same now"
    if value > limit:
        text += f": {found.example}; another coin's bars, or a damaged store"
    return Gate(name, value, limit, value <= limit, text, why)


def _refit_agrees(shipped: Shipped, limit: float) -> Gate:
    shift, lean = shipped.share_shift or 0.0, shipped.lean_correlation or 0.0
    passed = shift <= limit and lean > 0
    text = f"against its judged twin the refit moves the class shares by {shift:.3f} at most "
    text += f"(allowed {limit:g}) other than towards what happened, and leans the same way with "
    text += f"correlation {lean:.2f}"
    why = "what was judged is the twin, so what ships must behave like it"
    return Gate("refit_agrees", shift, limit, passed, text, why)


def _loads(shipped: Shipped, limit: float) -> Gate:
    why = "a file that only its own process can read leaves the bot without a model"
    own, portable = shipped.joblib, shipped.onnx
    if not shipped.proved:
        text = "left out in a backtest, whose first model was loaded in a fresh interpreter"
        return Gate("loads", None, limit, passed=True, verdict=text, why=why)
    value = None if own.error else own.difference
    name = f"a fresh interpreter with scikit-learn {own.library}"
    text = f"{name} reproduces the golden rows to {own.difference:.1e}"
    same = f"the portable form gives the same on {portable.rows:,} rows to "
    same += f"{portable.difference:.1e}"
    if own.error or not own.difference <= limit:
        text = f"a fresh interpreter refuses the file: {own.error or text}"
    elif portable.error or not portable.difference <= PORTABLE_TOLERANCE:
        text += f"; the portable form is refused: {portable.error or same}"
    else:
        text += f", and {same} with onnxruntime {portable.library} alone"
        return Gate("loads", value, limit, passed=True, verdict=text, why=why)
    return Gate("loads", value, limit, passed=False, verdict=text, why=why)


def _budget(shipped: Shipped, limits: GateLimits) -> Gate:
    mib, milliseconds = shipped.size_bytes / MIB, shipped.onnx.predict_ms
    # A file that does not load has no time to measure; `loads` says so.
    slow = milliseconds > limits.budget_ms
    passed = mib <= limits.budget_mib and not slow
    timed = f"one row in {milliseconds:.2f} ms of {limits.budget_ms:g}"
    text = f"{mib:.1f} MiB of {limits.budget_mib:g}, "
    text += timed if shipped.proved else "the time of a row is left out in a backtest"
    why = "the bot has one bar's time and a small machine"
    return Gate("budget", milliseconds, limits.budget_ms, passed, text, why)


def _above(passed: bool) -> str:  # noqa: FBT001 -- it is the whole question
    return "above" if passed else "not above"
