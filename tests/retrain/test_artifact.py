import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from hyperdrift.errors import VersionRefused
from hyperdrift.loaded_model import load_version
from hyperdrift.manifest import canonical
from hyperdrift.version_files import check_files, read_certificate, read_manifest
from retrain import artifact, features
from retrain.forms import interpreters
from retrain.forms.load_proof import LoadProof
from retrain.pipeline import Candidate

AT_MS = 1_760_000_000_000


@pytest.fixture
def copy(manifest_path: Path, tmp_path: Path) -> Path:
    """Copy the candidate, to be damaged."""
    folder = tmp_path / "version"
    shutil.copytree(manifest_path.parent, folder)
    return folder / manifest_path.name


def test_a_version_is_named_by_its_time_and_its_features() -> None:
    assert artifact.stamp(AT_MS) == "20251009_085320"
    assert artifact.model_id(AT_MS, "0123456789ab") == "20251009_085320_0123456789ab"


def test_the_signed_form_is_canonical_and_leaves_the_signature_out() -> None:
    one = canonical({"b": 1, "a": {"d": "\u00e9", "c": [1, 2]}, "signature": "x"})
    assert one == '{"a":{"c":[1,2],"d":"\u00e9"},"b":1}'.encode()
    assert one == canonical({"a": {"c": [1, 2], "d": "\u00e9"}, "b": 1})


@pytest.mark.parametrize(("form", "off"), [("joblib", 0), ("onnx", 1e-12)])
def test_a_loaded_version_answers_as_it_was_judged(
    manifest_path: Path, form: str, off: float
) -> None:
    loaded = load_version(manifest_path, form)
    assert loaded.form == form
    rows, expected = loaded.golden
    assert rows.shape == (32, 17)
    assert loaded.feature_cols == features.NAMES
    assert np.abs(loaded.predict(rows) - expected).max() <= off
    # One row goes another way through BLAS than many: the last bit may differ.
    assert np.allclose(loaded.predict(rows[:1].tolist()), expected[:1], rtol=0, atol=1e-14)
    assert loaded.check_golden() <= off
    assert 0 < loaded.down < 1
    assert 0 < loaded.up < 1
    assert loaded.manifest.slot == "TEST-5m"


def test_two_threads_may_ask_at_once_and_leave_the_process_as_it_was(manifest_path: Path) -> None:
    """Forests set warning filters while they predict; two at once would lose them for good."""
    loaded = load_version(manifest_path)
    row, before = loaded.golden[0][:1], list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: loaded.predict(row), range(40)))
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert list(warnings.filters) == before


def test_the_manifest_covers_every_file_and_its_names_are_relative(
    candidate: Candidate, manifest_path: Path
) -> None:
    files = {path.name for path in manifest_path.parent.iterdir()} - {manifest_path.name}
    assert set(candidate.manifest["sha256"]) == files
    assert json.loads(manifest_path.read_text()) == candidate.manifest
    for key in ("meta_classifier", "feature_columns", "training_meta"):
        assert candidate.manifest[key] in files
    assert candidate.manifest["calibrator"] is None
    assert candidate.manifest["class_order"] == [0, 1, 2]


class Planted:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_replaced_model_file_is_refused_before_it_is_unpickled(
    copy: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "it ran"
    joblib.dump(Planted(trace), copy.parent / read_manifest(copy).meta_classifier)
    with pytest.raises(VersionRefused, match="SHA-256"):
        load_version(copy)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["meta_classifier", "feature_columns", "training_meta", "golden", "report"]
)
def test_a_changed_or_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    path = copy.parent / getattr(read_manifest(copy), name)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(VersionRefused, match=path.name):
        load_version(copy)
    path.unlink()
    with pytest.raises(VersionRefused, match="cannot be read"):
        load_version(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"meta_classifier": "../model.joblib"},
        {"meta_classifier": "/etc/passwd"},
        {"model_id": "../../somewhere"},
        {"class_order": [2, 1, 0]},
        {"sha256": {}},
        {"horizon_bars": "many"},
        {"signal_threshold": None},
    ],
)
def test_a_manifest_of_the_wrong_form_is_refused(copy: Path, change: dict[str, Any]) -> None:
    copy.write_text(json.dumps(json.loads(copy.read_text()) | change))
    with pytest.raises(VersionRefused, match="not a usable manifest"):
        read_manifest(copy)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "\xff", '{"a":"\\ud800"}', '{"a":' * 10_000, '{"a":%s}' % ("9" * 10_000)],
)
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    copy.write_bytes(text.encode("latin-1"))
    with pytest.raises(VersionRefused, match="JSON"):
        read_manifest(copy)


def resealed(copy: Path, model: object, directory: Path) -> Path:
    """Write another model under the same certificate, digests and all."""
    loaded = load_version(copy)
    document = loaded.manifest
    rows, expected = loaded.golden
    version = artifact.Version(
        at_ms=AT_MS,
        slot=document.slot,
        interval=document.interval,
        model=model,
        feature_cols=loaded.feature_cols,
        schema_hash=document.schema_hash,
        up=document.up,
        down=document.down,
        horizon_bars=document.horizon_bars,
        threshold=document.threshold,
        trained_to_ms=document.trained_to_ms,
        golden_rows=rows,
        golden_probabilities=expected,
    )
    meta = read_certificate(document, copy.parent)
    manifest = artifact.write(directory, version, meta, "<html>")
    return directory / artifact.manifest_name(manifest["model_id"])


def fitted(manifest_path: Path) -> Any:
    """Return the saved object as a bot without anything of ours has it."""
    return joblib.load(manifest_path.parent / read_manifest(manifest_path).meta_classifier)


def test_the_inner_meta_model_alone_is_refused(copy: Path, tmp_path: Path) -> None:
    inner = fitted(copy)[-1].final_estimator_
    with pytest.raises(VersionRefused, match="12 inputs, the manifest says 17"):
        load_version(resealed(copy, inner, tmp_path / "inner"))


def self_test(python: str, model: Path, golden: Path) -> LoadProof:
    with interpreters.FreshInterpreter(python) as fresh:
        fresh.start()
        fresh.ask(model, golden)
        return fresh.answer()


def test_a_model_with_its_classes_permuted_is_refused(copy: Path, tmp_path: Path) -> None:
    model = fitted(copy)
    meta = model[-1].final_estimator_[-1]
    for calibrated in meta.calibrated_classifiers_:
        calibrated.calibrators.reverse()
    path = resealed(copy, model, tmp_path / "permuted")
    with pytest.raises(VersionRefused, match="golden rows come out"):
        load_version(path)
    found = read_manifest(path)
    tested = self_test(
        sys.executable, path.parent / found.meta_classifier, path.parent / found.golden
    )
    assert "golden rows" in tested.error


def test_an_interpreter_that_is_not_there_fails_the_self_test_with_a_sentence(
    manifest_path: Path,
) -> None:
    tested = self_test("/nowhere/python", manifest_path, manifest_path)
    assert "No such file" in tested.error


def test_an_interpreter_that_ends_before_it_is_asked_is_told_by_its_last_words(
    manifest_path: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho no joblib here >&2; exit 1\n")
    bare.chmod(0o755)
    assert self_test(str(bare), manifest_path, manifest_path).error == "no joblib here"


def test_the_model_is_built_of_scikit_learn_and_numpy_alone(manifest_path: Path) -> None:
    content = check_files(read_manifest(manifest_path), manifest_path.parent)
    name = read_manifest(manifest_path).meta_classifier
    plain = io.BytesIO()
    joblib.dump(joblib.load(io.BytesIO(content[name])), plain)
    assert b"retrain" not in plain.getvalue()
    assert b"sklearn.ensemble._stacking" in plain.getvalue()


def test_versions_differ_by_their_time(manifest_path: Path) -> None:
    loaded = load_version(manifest_path)
    assert loaded.model_id == loaded.manifest.model_id
    assert loaded.model_id.endswith(features.schema_hash())
    assert replace(loaded, manifest=loaded.manifest).model_id == loaded.model_id
