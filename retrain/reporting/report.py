"""Write the report that tells a person whether a model may go live, and why.

It is one page without scripts or external files, so that it looks the same in a mail, on a phone
and without a network.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any, Final

from retrain.reporting import plots as plot

_LIBRARIES: Final = {"joblib": "scikit-learn", "onnx": "onnxruntime"}
_CLASSES: Final = ("DOWN", "NEUTRAL", "UP")
_STYLE: Final = """
:root{--ink:#1c2330;--soft:#5d6778;--line:#dfe3ea;--page:#f6f7f9;--card:#fff;--good:#187a45;
--bad:#b3261e;--blue:#2e6ed6;--tint:46,110,214;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#98a2b3;--line:#2c3442;
--page:#10141b;--card:#181e28;--good:#55c88a;--bad:#ff7a70;--blue:#6ea0ff;--tint:110,160,255}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.2rem;max-width:62rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.35rem;margin:0}h2{font-size:1.05rem;margin:0 0 .6rem}
header,section{background:var(--card);border:1px solid var(--line);border-radius:.7rem;
padding:1rem 1.1rem;margin-bottom:1rem;overflow-x:auto}
header.passed{border-left:.45rem solid var(--good)}
header.refused{border-left:.45rem solid var(--bad)}
p{margin:.3rem 0 0}.soft{color:var(--soft);font-size:.9rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .6rem .35rem 0;border-top:1px solid var(--line);
vertical-align:top}
thead th{border-top:0;color:var(--soft);font-weight:500;font-size:.85rem}
td.n,th.n{text-align:right;padding-right:.8rem}
.ok{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:1rem;
margin-bottom:1rem}
.pair section{margin-bottom:0;min-width:0}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.8rem;margin:1rem 0 0}
dl div{border-top:1px solid var(--line);padding-top:.35rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.15rem;font-weight:600}
dd small{display:block;color:var(--soft);font-size:.8rem;font-weight:400}
svg{display:block;width:100%;height:auto;max-width:38rem}
tr.own{background:rgba(var(--tint),.12)}
@media(max-width:34rem){body{padding:.6rem}header,section{padding:.8rem}
table{font-size:.88rem}td.n,th.n{padding-right:.45rem}}
"""

# Nothing is fetched and nothing runs, whatever a text in the page says.
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"

_Rows = Iterable[Sequence[str]]


def render(meta: Mapping[str, Any], plots: Mapping[str, str] | None = None) -> str:
    """Return one self-contained HTML page about a certificate.

    Args:
        meta: Content of training_meta.
        plots: What `plots.draw` made of its findings; None draws them now.
    """
    title = f"{escape(meta['slot'])} {escape(meta['model_id'])}"
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{PAGE_POLICY}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            _verdict(meta),
            _section("Gates", _gates(meta["gates"])),
            *_evidence(meta, plot.draw(meta["findings"]) if plots is None else plots),
            _section("Scores", _scores(meta["scores"])),
            _pair(
                _section("Test decisions", _confusion(meta)),
                _section("Class shares", _shares(meta)),
            ),
            _section("Forms", _forms(meta["forms"])),
            _pair(_section("Settings", _settings(meta)), _section("Timings", _timings(meta))),
            "</body></html>",
        )
    )


def _evidence(meta: Mapping[str, Any], plots: Mapping[str, str]) -> Iterator[str]:
    """Yield the sections about the test block, with plots where possible."""
    found, costs = meta["findings"], meta["settings"]["costs"]
    if not plots:
        yield _section(
            "Plots", "<p>There are none: matplotlib is not installed beside the trainer.</p>"
        )
    yield _section("Beside other models", _models(found["models"]))
    yield _pair(
        _section("Do its probabilities come true?", _reliability(found["reliability"], plots)),
        _section("What its signals add up to", _equity(found["equity"], costs, plots)),
    )
    yield _pair(
        _section("What it looks at", _importance(found["importance"], plots)),
        _section("How the features have moved", _drift(found["drift"], plots)),
    )


def _models(models: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr{' class=own' if one['name'] == 'this model' else ''}><th>{escape(one['name'])}</th>"
        f'<td class="n">{one["log_loss"]:.4f}</td><td class="n">{one["skill"]:+.4f}</td>'
        f'<td class="n">{_number(one["ic"], "{:+.3f}")}</td></tr>'
        for one in models
    )
    head = "".join(f'<th class="n">{name}</th>' for name in ("log loss", "skill", "IC"))
    note = "On the test block, by models fitted to the training block. Skill is against the shares."
    return f"<table><thead><tr><th></th>{head}</tr></thead>{lines}</table>{_soft(note)}"


def _reliability(found: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    note = "Each dot is a tenth of the test bars; on the dashed line, what it says is what happens."
    if plots:
        return plots["reliability"] + _soft(note)
    lines = [
        (name if i == 0 else "", f"{given:.3f}", f"{happened:.3f}", f"{int(rows):,}")
        for name, bins in found.items()
        for i, (given, happened, rows) in enumerate(bins)
    ]
    return _table(("", "said", "happened", "bars"), lines)


def _equity(found: Mapping[str, Any], costs: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    before, after = found["before_fees"][-1], found["after_fees"][-1]
    lacks = ", ".join(f"no {name}" for name in ("slippage", "funding") if not costs[f"{name}_bps"])
    note = (
        f"{found['signals']:,} signals, each on an equal part of the capital and held to its "
        f"horizon: {before:+.2%} before costs, {after:+.2%} after; worst fall "
        f"{found['worst_fall']:.2%}. "
        + (f"{lacks.capitalize()}: not" if lacks else "Not")
        + " what an account would show."
    )
    return plots.get("equity", "") + _soft(note)


def _importance(found: Mapping[str, float], plots: Mapping[str, str]) -> str:
    note = "Related features stand in for each other, so each may look less important than it is."
    if plots:
        return plots["importance"] + _soft(note)
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return _table(("", "rise of log loss"), [(name, f"{rise:+.5f}") for name, rise in ranked])


def _drift(found: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    moved = found["features"]
    most = sorted(moved, key=lambda name: -moved[name]["distance"])
    note = (
        f"{found['rows_after']:,} bars since {escape(found['since'])}, against the "
        f"{found['rows_before']:,} before. Distributions lie furthest apart for "
        + ", ".join(f"{escape(name)} ({moved[name]['distance']:.2f} of 1)" for name in most[:3])
        + ". Calm and stormy weeks differ by this much without any harm."
    )
    if plots:
        return plots["drift"] + _soft(note)
    lines = [
        (name, f"{moved[name]['shift_sd']:+.2f}", f"{moved[name]['distance']:.2f}") for name in most
    ]
    return _table(("", "shift in sd", "distance"), lines) + _soft(note)


def _verdict(meta: Mapping[str, Any]) -> str:
    settings, passed = meta["settings"], meta["passed"]
    if passed:
        text = "Passed every gate: it may go live."
    else:
        text = f"Refused by {', '.join(escape(name) for name in meta['refused_by'])}."
    reasons = "".join(f"<p>{escape(g['verdict'])}.</p>" for g in meta["gates"] if not g["passed"])
    span = f"{_day(settings['from_ms'])} to {_day(settings['to_ms'])}, {settings['n_bars']:,} bars"
    why = f" Asked for by: {escape(settings['reason'])}." if settings["reason"] else ""
    return (
        f'<header class="{"passed" if passed else "refused"}">'
        f"<h1>{escape(meta['slot'])}: {text}</h1>"
        f'<p class="soft">Model {escape(meta["model_id"])}, from {span}.{why}</p>'
        f"<p>earns: {escape(meta['earns']['text'])}.</p>"
        f"{reasons}{_key_figures(meta['scores']['test'])}</header>"
    )


def _key_figures(test: Mapping[str, Any]) -> str:
    """The four most important numbers, with their uncertainty."""
    decided = test["decisions"]
    low, high = test["skill_interval"]
    signals = decided["up_signals"] + decided["down_signals"]
    figures = (
        (
            "skill over the class shares",
            f"{test['skill']:+.4f}",
            f"95 %: {low:+.4f} to {high:+.4f}",
        ),
        ("test accuracy", f"{test['argmax']['accuracy']:.1%}", "of the most probable class"),
        (
            "signals that won",
            _number(decided["win_rate"], "{:.1%}"),
            f"of {signals:,} on test bars",
        ),
        ("a signal after costs", _number(decided["expectancy"], "{:+.3%}"), "mean return"),
    )
    return "<dl>{}</dl>".format(
        "".join(
            f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>"
            for name, value, note in figures
        )
    )


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for gate in gates:
        mark = '<div class="ok">passed</div>' if gate["passed"] else '<div class="no">refused</div>'
        lines.append(
            f"<tr><th>{escape(gate['name'])}{mark}</th><td>{escape(gate['verdict'])}"
            f'<div class="soft">Because {escape(gate["why"])}.</div></td></tr>'
        )
    return f"<table>{''.join(lines)}</table>"


def _scores(scores: Mapping[str, Any]) -> str:
    """One column per block; accuracy of the most probable class, then the same of decisions."""
    columns = {name: one for name, one in scores.items() if one}
    plain = (
        ("rows", "rows", "{:,}"),
        ("log loss", "log_loss", "{:.4f}"),
        ("skill", "skill", "{:.4f}"),
        ("Brier score", "brier", "{:.4f}"),
        ("directional IC", "ic", "{:+.4f}"),
    )
    decided = (
        ("accuracy", "accuracy", "{:.3f}"),
        ("balanced accuracy", "balanced_accuracy", "{:.3f}"),
        ("MCC", "mcc", "{:.3f}"),
        ("win rate", "win_rate", "{:.1%}"),
        ("mean return after fees", "expectancy", "{:+.3%}"),
        ("UP", "up_signals", "{:,}"),
        ("DOWN", "down_signals", "{:,}"),
    )
    lines = [
        (label, *(_number(one[key], form) for one in columns.values()))
        for label, key, form in plain
    ]
    for rule, note in (("argmax", ", most probable class"), ("decisions", ", decisions")):
        lines += [
            (label + note, *(_number(one[rule][key], form) for one in columns.values()))
            for label, key, form in decided
        ]
    return _table(("", *columns), lines)


def _confusion(meta: Mapping[str, Any]) -> str:
    """Rows are labels, columns are decisions; shaded by the share of the row."""
    counts = meta["scores"]["test"]["decisions"]["confusion"]
    head = "".join(f'<th class="n">{name}</th>' for name in _CLASSES)
    lines = []
    for name, row in zip(_CLASSES, counts, strict=True):
        total = max(1, sum(row))
        cells = "".join(
            f'<td class="n" style="background:rgba(var(--tint),{0.5 * n / total:.2f})">{n:,}</td>'
            for n in row
        )
        lines.append(f"<tr><th>{name} happened</th>{cells}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead>{''.join(lines)}</table>"


def _shares(meta: Mapping[str, Any]) -> str:
    shares, test = meta["class_shares"], meta["scores"]["test"]
    lines = [
        (name, *(f"{share:.1%}" for share in three))
        for name, *three in zip(
            _CLASSES, shares["train"], shares["test"], test["decisions"]["shares"], strict=True
        )
    ]
    return _table(("", "train", "test", "decided"), lines)


def _settings(meta: Mapping[str, Any]) -> str:
    settings, signal = meta["settings"], meta["signal_threshold"]
    notes = (settings["labels"], *settings["scaled_down"])
    return "".join(_soft(f"{escape(text)}.") for text in notes) + _table(
        ("", ""),
        (
            ("horizon", f"{settings['horizon_bars']} bars of {meta['interval']}"),
            ("threshold", f"{settings['threshold_value']:g} ({settings['threshold_kind']})"),
            *_sides(signal, meta["decision_rule"]),
            ("costs of a round trip", f"{settings['round_trip_bps']:g} bps"),
            *((name, version) for name, version in meta["versions"].items()),
        ),
    )


def _sides(signal: Mapping[str, float], rule: Mapping[str, Any]) -> _Rows:
    """Yield the signal threshold of each side, with its share of the out-of-fold bars."""
    for side in ("up", "down"):
        share = f", {rule[side]['share']:.2%} of bars out of fold" if side in rule else ""
        yield f"signal {side.upper()} from", f"{signal[side]:.4f}{share}"


def _forms(forms: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each form of the model, with what a fresh interpreter found."""
    lines = [
        (
            name,
            one["error"] or f"off by {one['difference']:.1e} on {one['rows']:,} rows",
            _number(one["predict_ms"], "{:.2f} ms"),
            f"{_LIBRARIES[name]} {one['library']}, Python {one['python']}",
        )
        for name, one in forms.items()
    ]
    note = "Of the joblib the golden rows are asked; onnx must say what it says, ties and all."
    return _table(("", "proved", "one row", "under"), lines) + _soft(note)


def _timings(meta: Mapping[str, Any]) -> str:
    lines = [(step, f"{seconds:.2f} s") for step, seconds in meta["timings"].items()]
    lines.append(("in all", f"{sum(meta['timings'].values()):.2f} s"))
    return _table(("", ""), lines)


def _table(head: Sequence[str], lines: _Rows) -> str:
    names = "".join(f'<th class="n">{escape(name)}</th>' for name in head[1:])
    body = "".join(
        f"<tr><th>{escape(line[0])}</th>"
        + "".join(f'<td class="n">{escape(str(cell))}</td>' for cell in line[1:])
        + "</tr>"
        for line in lines
    )
    return f"<table><thead><tr><th></th>{names}</tr></thead>{body}</table>"


def _pair(*sections: str) -> str:
    return f'<div class="pair">{"".join(sections)}</div>'


def _soft(text: str) -> str:
    return f'<p class="soft">{text}</p>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _number(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M")
