"""The report that a person reads: may this model go live, and why (not)?

One page without scripts or anything fetched, so that it reads the same from a mail, a
phone and a server without a network.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

_CLASSES: Final = ("DOWN", "NEUTRAL", "UP")
_STYLE: Final = """
:root{--ink:#1c2330;--soft:#5d6778;--line:#dfe3ea;--page:#f6f7f9;--card:#fff;--good:#187a45;
--bad:#b3261e;--tint:46,110,214;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#98a2b3;--line:#2c3442;
--page:#10141b;--card:#181e28;--good:#55c88a;--bad:#ff7a70;--tint:110,160,255}}
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
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1rem}
.pair section{margin-bottom:0}.pair{margin-bottom:1rem}
"""

_Rows = Iterable[Sequence[str]]


def render(meta: Mapping[str, Any]) -> str:
    """Return one self-contained HTML page about a certificate.

    Args:
        meta: Content of training_meta.
    """
    title = f"{escape(meta['slot'])} {escape(meta['model_id'])}"
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            _verdict(meta),
            _section("Gates", _gates(meta["gates"])),
            _section("Scores", _scores(meta["scores"])),
            f'<div class="pair">{_section("Test decisions", _confusion(meta))}',
            f"{_section('Class shares', _shares(meta))}</div>",
            f'<div class="pair">{_section("Settings", _settings(meta))}',
            f"{_section('Timings', _timings(meta))}</div>",
            "</body></html>",
        )
    )


def _verdict(meta: Mapping[str, Any]) -> str:
    settings, passed = meta["settings"], meta["passed"]
    if passed:
        text = "Passed every gate: it may go live."
    else:
        text = f"Refused by {', '.join(escape(name) for name in meta['refused_by'])}."
    span = f"{_day(settings['from_ms'])} to {_day(settings['to_ms'])}, {settings['n_bars']:,} bars"
    why = f" Asked for by: {escape(settings['reason'])}." if settings["reason"] else ""
    return (
        f'<header class="{"passed" if passed else "refused"}">'
        f"<h1>{escape(meta['slot'])}: {text}</h1>"
        f'<p class="soft">Model {escape(meta["model_id"])}, from {span}.{why}</p></header>'
    )


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for gate in gates:
        mark = '<td class="ok">passed</td>' if gate["passed"] else '<td class="no">refused</td>'
        lines.append(
            f"<tr>{mark}<th>{escape(gate['name'])}</th><td>{escape(gate['verdict'])}"
            f'<div class="soft">Because {escape(gate["why"])}.</div></td></tr>'
        )
    return f"<table>{''.join(lines)}</table>"


def _scores(scores: Mapping[str, Any]) -> str:
    """One column per block; figures of decisions, those of argmax beneath."""
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
        ("UP signals", "up_signals", "{:,}"),
        ("DOWN signals", "down_signals", "{:,}"),
    )
    lines = [
        (label, *(_number(one[key], form) for one in columns.values()))
        for label, key, form in plain
    ]
    for rule, note in (("decisions", ""), ("argmax", ", by argmax")):
        lines += [
            (label + note, *(_number(one[rule][key], form) for one in columns.values()))
            for label, key, form in decided
        ]
    return _table(("", *columns), lines)


def _confusion(meta: Mapping[str, Any]) -> str:
    """Rows: what happened. Columns: what was decided. Shaded by the share of the row."""
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
    return _table(
        ("", ""),
        (
            ("horizon", f"{settings['horizon_bars']} bars of {meta['interval']}"),
            ("threshold", f"{settings['threshold_value']:g} ({settings['threshold']})"),
            ("signal UP from", f"{signal['up']:.4f}"),
            ("signal DOWN from", f"{signal['down']:.4f}"),
            ("fee of a round trip", f"{settings['fee_bps']:g} bps"),
            *((name, version) for name, version in meta["versions"].items()),
        ),
    )


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


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _number(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
