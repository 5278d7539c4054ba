"""List, show and verify the versions of a slot."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.config.schema import Config
from daemon.core.terminal.console import EscapingConsole
from daemon.core.terminal.records import show_rows
from daemon.registry import deployment_log
from daemon.registry.keys import public_path, trusted_keys
from daemon.registry.latest_pointer import LATEST
from daemon.registry.live_labels import LiveLabels
from daemon.registry.registry import Registry
from daemon.registry.version_info import served_form, signals_told, slots_in
from daemon.store.data_folder import STORE_NAME, open_store
from hyperdrift import version_files
from hyperdrift.errors import VersionRefused
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit, certificate_fault
from retrain.errors import RetrainError


@dataclass(frozen=True, slots=True)
class VersionCheck:
    """The check of one version or of the pointer; `problem` is "" if all is well."""

    model_id: str
    what: str
    problem: str = ""
    note: str = ""


def versions(config: Config, slot: str = "") -> list[dict[str, Any]]:
    """Return every version of a slot, newest first; without one, of one slot after another."""
    registry = _registry(config)
    slots = [SlotName.parse(slot)] if slot else slots_in(config.data_dir / "models")
    return [
        {"slot": str(name), **asdict(info)} for name in slots for info in registry.versions(name)
    ]


def show(config: Config, slot: str, model_id: str) -> dict[str, Any]:
    """Return the manifest, the certificate and the folder of one version.

    Raises:
        VersionRefused: If it does not exist, or its manifest or certificate is damaged.
    """
    registry, name = _registry(config), SlotName.parse(slot)
    folder, wanted = registry.folder(name), _known(registry, name, model_id)
    manifest = version_files.read_manifest(registry.manifest_path(name, wanted))
    meta = version_files.read_certificate(manifest, folder)
    info = next(info for info in registry.versions(name) if info.model_id == wanted)
    sizes = {file: _size(folder / file) for file in manifest.sha256}
    return {
        **asdict(info),
        "fault": certificate_fault(meta),
        "horizon_bars": manifest.horizon_bars,
        "threshold": manifest.threshold,
        "labels": LiveLabels.of(manifest, folder).text,
        "signal_threshold": {"up": manifest.up, "down": manifest.down},
        "trained_to_ms": manifest.trained_to_ms,
        "forms": {
            name: {"file": file, **(meta.get("forms") or {}).get(name, {})}
            for name, file in manifest.forms.items()
        },
        "sklearn": manifest.sklearn,
        "numpy": manifest.numpy,
        "python": manifest.python,
        "git_commit": manifest.document.get("git_commit", ""),
        "gates": meta.get("gates", []),
        "scores": meta.get("scores", {}),
        "settings": meta.get("settings", {}),
        "timings": meta.get("timings", {}),
        "files": {
            file: {"bytes": sizes[file], "sha256": digest}
            for file, digest in manifest.sha256.items()
        },
        "report": str(folder / manifest.report),
    }


def find(config: Config, slot: str, model_id: str) -> str:
    """Return the one version of a slot whose id begins with `model_id`.

    Raises:
        VersionRefused: If there is none, or more than one.
    """
    return _known(_registry(config), SlotName.parse(slot), model_id)


def verify(config: Config, slot: str, model_id: str = "") -> list[VersionCheck]:
    """Verify one version, or the pointer as a bot would and then every version.

    Raises:
        VersionRefused: If there is no such version.
    """
    registry, name = _registry(config), SlotName.parse(slot)
    if model_id:
        return [_version(registry, name, _known(registry, name, model_id))]
    found = [_version(registry, name, info.model_id) for info in registry.versions(name)]
    return [_pointer(config, registry, name), *found]


def _pointer(config: Config, registry: Registry, slot: SlotName) -> VersionCheck:
    path, known = registry.pointer(slot), _newest_move(config, slot)
    if not path.exists():
        problem = "it is missing; `hyperdrift models rollback` goes back" if known else ""
        return VersionCheck("", LATEST, problem, "" if known else "nothing is live yet")
    public = public_path(config.data_dir)
    verifier = Verifier.load(public) if public.exists() else None
    after_ms = int(known["deployed_ms"]) if known else 0
    try:
        form = served_form(version_files.read_manifest(path))
        model_id = admit(path, slot, None, verifier, after_ms=after_ms, form=form).model_id
    except VersionRefused as e:
        return VersionCheck(e.model_id, LATEST, e.reason)
    return VersionCheck(
        model_id, LATEST, note="" if verifier else f"{public} is not there: unsigned"
    )


def _version(registry: Registry, slot: SlotName, model_id: str) -> VersionCheck:
    try:
        manifest = registry.load(slot, model_id).manifest
        fault = certificate_fault(version_files.read_certificate(manifest, registry.folder(slot)))
    except VersionRefused as e:
        return VersionCheck(model_id, "version", e.reason)
    except (RetrainError, OSError) as e:
        return VersionCheck(model_id, "version", str(e))
    return VersionCheck(model_id, "version", note=fault or "")


def _newest_move(config: Config, slot: SlotName) -> dict[str, Any] | None:
    if not (config.data_dir / STORE_NAME).exists():
        return None
    with open_store(config.data_dir, read_only=True) as store:
        return deployment_log.newest(store, slot)


def _registry(config: Config) -> Registry:
    return Registry(config.data_dir / "models", ring=trusted_keys(config.data_dir))


def _known(registry: Registry, slot: SlotName, model_id: str) -> str:
    """Return the one version whose id begins so.

    Raises:
        VersionRefused: If there is none, or more than one.
    """
    ids = [info.model_id for info in registry.versions(slot)]
    found = [known for known in ids if known.startswith(model_id)]
    if model_id in ids or len(found) == 1:
        return model_id if model_id in ids else found[0]
    why = "it begins more than one version" if found else f"{slot} has no such version"
    raise VersionRefused(model_id, f"{why}; `hyperdrift models list --slot {slot}` shows them")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


# Printing.


def show_versions(found: list[dict[str, Any]]) -> None:
    """Print the result of `versions` as a table."""
    rows = []
    are_many = len({info["slot"] for info in found}) > 1
    for info in found:
        mark = "live" if info["live"] else "previous" if info["previous"] else ""
        verdict = "passed" if info["passed"] else "refused by " + ", ".join(info["refused_by"])
        if info["promoted_by"]:
            verdict += f"; promoted by {info['promoted_by']}"
        mean = info["mean_return"]
        gained = "-" if mean is None else f"{mean:+.2%}"
        row = (_number(info["test_accuracy"], 3), gained, _number(info["skill"], 4))
        names = (info["slot"], info["model_id"]) if are_many else (info["model_id"],)
        rows.append((mark, *names, *row, info["problem"] or verdict))
    console = EscapingConsole(highlight=False)
    if rows:
        names = ("slot", "model") if are_many else ("model",)
        show_rows(console, ("", *names, "accuracy", "a signal", "skill", "gates"), rows)
    else:
        console.print("no versions yet")


def show_version(info: dict[str, Any]) -> None:
    """Print the result of `show`: a line for each fact, then one for each gate."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    place = "live" if info["live"] else "previous" if info["previous"] else "not live"
    signal = info["signal_threshold"]
    for name, text in (
        ("model", info["model_id"]),
        ("place", place + (f", promoted by {info['promoted_by']}" * bool(info["promoted_by"]))),
        ("trained", info["trained_at_utc"]),
        ("labels", info["labels"]),
        ("signals", f"UP from {signal['up']:.4f}, DOWN from {signal['down']:.4f}"),
        ("", signals_told(info)),
        ("made with", f"scikit-learn {info['sklearn']}, Python {info['python']}"),
        *((name, _proof(name, form)) for name, form in info["forms"].items()),
        ("gates", info["fault"] or "passed every one"),
        ("report", info["report"]),
    ):
        console.print(f"{name:<10}{text}")
    for gate in info["gates"]:
        verdict = gate.get("verdict") or gate.get("name")
        console.print(f"  {'pass' if gate.get('passed') is True else 'FAIL'}  {verdict}")
    for file, facts in info["files"].items():
        console.print(f"  {facts['sha256'][:12]}  {facts['bytes'] or 'missing':>10}  {file}")


def show_findings(found: list[VersionCheck]) -> None:
    """Print the result of `verify`, one line for each check."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    for finding in found:
        what = finding.what if finding.what == LATEST else ""
        name = " ".join(part for part in (what, finding.model_id) if part)
        verdict = f"REFUSED: {finding.problem}" if finding.problem else "ok"
        console.print(f"{name}: {verdict}" + (f" ({finding.note})" if finding.note else ""))


def _proof(name: str, form: dict[str, Any]) -> str:
    """Return what a form of the model was proved to, in words."""
    if form.get("difference") is None:
        return form.get("error") or "its certificate has no proof of it"
    library = "onnxruntime" if name == "onnx" else "scikit-learn"
    return (
        f"equal on {form['rows']:,} rows to {form['difference']:.1e} under {library} "
        f"{form['library']}, one row in {form['predict_ms']:.2f} ms"
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
