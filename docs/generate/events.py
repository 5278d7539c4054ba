"""The page of events: what the engine takes in, what it tells, what the journal keeps."""

import ast
import inspect
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

from daemon.service import retention
from daemon.store import journal_kinds
from docs.generate.markdown import code, table, type_name
from docs.generate.source import calls, doc, functions, modules, texts_of
from monitor import actions, events
from monitor.events import Event

_HEAD: Final = f"""# Events

The engine of a slot takes *events* in, and gives *actions* back (`monitor/engine.py`). The daemon
writes each event into the journal before it acts, so that a start can rebuild the engine. It
publishes what the engine tells on `hyperdrift/<slot>/event`, and journals that too.

The journal keeps:

* `BarScored` for {retention.SCORES_DAYS} days or {retention.SCORES_BARS} bars, whichever is more
* what bots and strangers can cause by the thousand for {retention.CHATTER_DAYS} days
* the rest for {retention.OTHERS_DAYS} days, and `pointer_moved` for ever
"""
_IN: Final = """## Events that the engine takes

Defined in `monitor/events.py`. The name is the journal's `kind`. Each has `slot` and `at_ms`, the
time in ms UTC at which it happened.
"""
_OUT: Final = """## Actions that the engine gives

Defined in `monitor/actions.py`. Each has `slot` and `at_ms` too.
"""
_TOLD: Final = """## Kinds that are published

On `hyperdrift/<slot>/event`, with `kind`, `at_ms` in ms UTC, `text` in words and the fields of the
kind. All but `acknowledged` and `verdict` stand in the journal too. `alert`, `gap` and
`hole_closing` have a `severity`; critical ones need a person.

"""
_KEPT: Final = """## Other kinds in the journal

"""
_KINDS: Final = {
    "acknowledged": "A bot answered a swap order: `status`, and how long the order took.",
    "alert": "A person is told something; `severity` is info, warning or critical.",
    "bot_servable": "A bot can load the models that are saved now.",
    "bot_silent": "A bot is online and publishes no predictions.",
    "bot_speaks": "A bot that was silent predicts again.",
    "bot_unservable": "A bot cannot load what a retrain would save; none starts meanwhile.",
    "challenge": "A quick challenger says whether a retrain would help, with its figures.",
    "confirmed": "Probation is over, and the live model stays.",
    "decision": "The policy decided: `start` says whether a retrain begins, `text` why or why not.",
    "drift": "A feature drifted: which, how far, with what evidence.",
    "earning": "The live model surely earns after costs, or loses: mean and interval.",
    "gap": "Bars are lost: the venue does not serve them any more.",
    "hole_closing": "Missing bars will soon be out of the venue's reach.",
    "features_agree": "The bot's features agree with the daemon's again.",
    "features_differ": "The features of bot and daemon differ; nothing is deployed meanwhile.",
    "features_unknown": "No bot publishes features that could differ any more; deploys go on.",
    "feed_fault": "A feature is frozen or undefined, or drift cannot be watched.",
    "market_drift": "Several slots drifted within an hour: which `slots`; told once for all.",
    "paused": "An operator paused automatic retrains and deploys.",
    "resumed": "Automatic retrains and deploys go on.",
    "retrain_stopped": "A stop of the daemon ended a retrain; no limit counts it, it begins again.",
    "retrain_failed": "A retrain ended without a candidate and changed nothing.",
    "retrain_finished": "A retrain left a candidate: `passed`, or `refused_by` which gates.",
    "retrain_late": "A retrain or a quick challenger, `job`, has waited an hour for its turn.",
    "retrain_started": "A retrain began: `trigger` and `job`.",
    "rolled_back": "An earlier version is live again.",
    "speaks_often": "The live model gives far more signals than its decision rule was made for.",
    "swap_refused": "A bot or the daemon refused a version.",
    "slots_changed": 'Coins of `coin = "*"` joined or left: which, and why.',
    "swapped": "A new version is live.",
    "trouble_over": "A trouble that an alert named is over.",
    "verdict": "A candidate was judged: every gate with its figures.",
    "win_rate": "The win rate fell, losses came in a row, or trades are all of one side.",
}
_JOURNAL: Final = {
    journal_kinds.COMMAND_ANSWERED: "The reply to a command, refusals included.",
    journal_kinds.POINTER_MOVED: "LATEST.json was moved: from what to what, by whom, why.",
    journal_kinds.VERSIONS_PRUNED: "Old versions were removed from the registry.",
    journal_kinds.ENTRIES_PRUNED: (
        "Old data was removed from the store; an entry of the whole daemon."
    ),
}


def page() -> str:
    """Return the page."""
    found = dict(_published())
    parts = [_HEAD, _IN, *_classes(events, Event), _OUT, *_classes(actions, actions.Action)]
    if differing := found.keys() ^ _KINDS.keys():
        raise LookupError(f"docs/generate/events.py and the code differ by {sorted(differing)}")
    rows = ((code(kind), _KINDS[kind], code(path)) for kind, path in sorted(found.items()))
    parts.append(_TOLD + table(("kind", "what happened", "told by"), rows))
    parts.append(
        _KEPT + table(("kind", "what it says"), ((code(k), text) for k, text in _JOURNAL.items()))
    )
    return "\n".join(parts)


def _classes(module: Any, root: Any) -> Iterator[str]:
    kinds: dict[str, Any] = vars(module)
    for name, kind in kinds.items():
        if not inspect.isclass(kind) or not issubclass(kind, root) or kind is root:
            continue
        hints = get_type_hints(kind)
        own = [name for name in hints if name not in {"slot", "at_ms"}]
        text = f"### {name}\n\n{doc(kind)}\n"
        if own:
            text += (
                f"\nFields: {'; '.join(f'`{each}` {type_name(hints[each])}' for each in own)}.\n"
            )
        yield text


def _published() -> Iterator[tuple[str, str]]:
    """Yield each kind that is published and where it is told."""
    for path, tree in modules("monitor", "daemon/market_data", "daemon/runtime", "daemon/service"):
        for function in functions(tree):
            for call in calls(function):
                yield from ((kind, path) for kind in _kinds_of(call, function, path))
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "kind":
                        yield from ((kind, path) for kind in texts_of(value, ast.Pass()))


def _kinds_of(call: ast.Call, function: ast.AST, path: str) -> list[str]:
    match call:
        case ast.Call(ast.Attribute(attr="publish") | ast.Name("Finding"), [kind, *_]):
            return texts_of(kind, function)
        case ast.Call(ast.Attribute(attr="_tell"), [kind, *_]) if path.startswith("daemon/"):
            return texts_of(kind, function)
        case ast.Call(ast.Name("alarm") | ast.Attribute(attr="_alarm"), [_, kind, *_]):
            return texts_of(kind, function)
    return []
