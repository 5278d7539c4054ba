"""The page of the configuration: every key, its default, and whether it reloads."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final, get_type_hints

import msgspec

from daemon.config.reload import LIVE
from daemon.config.schema import LABEL_DEFAULTS, Config
from daemon.config.slot_entries import SlotEntry
from docs.generate.markdown import code, table, type_name, value
from docs.generate.source import field_texts, path_of, summary
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings, default_settings
from retrain.judging.gate_limits import GateLimits

_HEAD: Final = """# Configuration

`hyperdrift.toml` in the working folder, or `/etc/hyperdrift/hyperdrift.toml`, or the file that
`--config` names. Every section may be left out, and a misspelt key is an error. The unit of a
number stands in its description, and mostly in its name: `_s` is seconds, `_mib` is MiB.

An environment variable overrides the file: `HYPERDRIFT_<SECTION>__<KEY>`, with two underscores
between section and key. Only `[[slots]]` must stand in the file.

A key that *reloads* is taken with `systemctl reload hyperdrift` (SIGHUP). A change of any other
key needs a restart; until then nothing of the changed file is used (`config.reload_refused`).
"""
_LIMITS: Final[dict[str, Any]] = {"policy": PolicySettings, "gates": GateLimits}


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for field in msgspec.structs.fields(Config):
        if field.name == "entries":
            continue
        if field.name in _LIMITS:
            parts.append(_limits(field.name, _LIMITS[field.name]))
        else:
            section = SlotEntry if field.name == "slots" else field.type
            parts.append(_section(field.name, section))
    return "\n".join(parts)


def _section(name: str, section: type[msgspec.Struct]) -> str:
    title = "[[slots]]" if section is SlotEntry else f"[{name}]"
    hints, texts = get_type_hints(section), field_texts(section)
    rows = []
    inherited = getattr(section.__base__, "__struct_fields__", ())
    for field in sorted(msgspec.structs.fields(section), key=lambda f: f.name in inherited):
        default = field.default_factory() if callable(field.default_factory) else field.default
        shown = "needed" if default is msgspec.NODEFAULT else code(value(default))
        if default is None:
            named = {"min_volume_usd": "none", "interval": code(value("5m"))}
            shown = named.get(field.name, "by the interval")
        kind = type_name(hints[field.name]).replace(" or null", "")
        live = bool({f"{name}.{field.name}", f"[[{name}]]"} & LIVE)
        rows.append(_row(name, field.name, kind, shown, texts, live=live))
    _, _, what = summary(section).partition(": ")
    text = _head(title, what, section, environment=section is not SlotEntry)
    text += table(("key", "type", "default", "reloads", "what"), rows)
    return text + _label_defaults() if section is SlotEntry else text


def _limits(name: str, limits: Any) -> str:
    hints, texts = get_type_hints(limits), field_texts(limits)
    what = "when a retrain starts, and how long a new model is on probation"
    if name == "gates":
        what = "the limits that a candidate is judged by ([what each gate refuses](gates.md))"
    rows = []
    for field in fields(limits):
        live = name == "gates" or f"{name}.{field.name}" in LIVE
        default = _by_interval(field.name) if name == "policy" else code(value(field.default))
        kind = type_name(hints[field.name])
        rows.append(_row(name, field.name, kind, default, texts, live=live))
    return _head(f"[{name}]", what, limits) + table(
        ("key", "type", "default", "reloads", "what"), rows
    )


def _row(
    section: str, key: str, kind: str, default: str, texts: dict[str, str], *, live: bool
) -> tuple[str, ...]:
    if key not in texts:
        raise LookupError(f"{section}.{key} has no description: write a string under the key")
    return code(key), kind, default, "yes" if live else "", texts[key]


def _head(title: str, what: str, of: type, *, environment: bool = True) -> str:
    text = f"## {title}\n\n{what[0].upper()}{what[1:].rstrip('.')}. Defined in `{path_of(of)}`."
    if environment:
        text += f"\nEnvironment: `HYPERDRIFT_{title.strip('[]').upper()}__<KEY>`."
    return f"{text}\n\n"


def _by_interval(key: str) -> str:
    """Return a default, and which intervals have another."""
    found = {name: getattr(_defaults(name), key) for name in LABEL_DEFAULTS}
    usual, _ = Counter(found.values()).most_common(1)[0]
    if len(set(found.values())) > 2:  # noqa: PLR2004 - then none of them is the usual one
        return ", ".join(f"{name}: {code(value(each))}" for name, each in found.items())
    others = [f"{name}: {code(value(each))}" for name, each in found.items() if each != usual]
    return ", ".join([code(value(usual)), *others])


def _defaults(interval: str) -> PolicySettings:
    return default_settings(SlotName.parse(f"BTC-{interval}").interval_ms)


def _label_defaults() -> str:
    rows: Iterator[tuple[str, str, str]] = (
        (code(name), code(horizon), code(threshold))
        for name, (horizon, threshold) in LABEL_DEFAULTS.items()
    )
    text = "\nOther intervals of the venue need both keys. `24h` is the venue's `1d`.\n\n"
    return text + table(("interval", "horizon_bars", "threshold"), rows)
