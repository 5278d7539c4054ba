import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from retrain import artifact, features
from retrain.forms import proofs
from retrain.forms.interpreters import FreshInterpreter
from retrain.forms.parts import Parts, loaded
from retrain.manifest import Version
from retrain.pipeline import Candidate
from retrain.stacking.stack import Stack
from tests.retrain.planted import rows


def version(stack: Stack, parts: Parts, **changes: Any) -> Version:
    golden = rows(32, seed=9)[0]
    made = Version(
        at_ms=1_760_000_000_000,
        slot="TEST-5m",
        interval="5m",
        model=stack.model,
        feature_cols=features.NAMES,
        schema_hash=features.schema_hash(),
        up=0.4,
        down=0.4,
        horizon_bars=6,
        threshold=0.005,
        trained_to_ms=1_750_000_000_000,
        golden_rows=golden,
        golden_probabilities=stack.predict(golden),
        parts=parts,
    )
    return replace(made, **changes)


def proved(made: Version, folder: Path, onnx_python: str = "") -> proofs.Proofs:
    """Prove the portable form; there is no interpreter for the joblib, which takes seconds."""
    artifact.save_model(folder, made)
    with FreshInterpreter("/nowhere/python") as fresh:
        fresh.start()
        return proofs.prove(made, folder, rows(500)[0], fresh, onnx_python)


def test_parts_that_are_not_the_models_are_found_out(
    stack: Stack, parts: Parts, tmp_path: Path
) -> None:
    wrong = replace(parts, bias=parts.bias + 1e-4)
    found = proved(version(stack, wrong), tmp_path)
    assert "No such file" in found.joblib.error
    assert found.onnx.difference > 1e-6
    assert not list(tmp_path.glob("*.onnx"))
    assert not list(tmp_path.glob("tmp*"))


def test_an_interpreter_that_cannot_make_the_form_is_named_with_the_reason(
    stack: Stack, parts: Parts, tmp_path: Path
) -> None:
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'onnx'\" >&2\nexit 1\n")
    stub.chmod(0o755)
    found = proved(version(stack, parts), tmp_path / "version", str(stub))
    assert found.onnx.error == "it cannot be made (ModuleNotFoundError: No module named 'onnx')"
    manifest = artifact.seal(tmp_path / "version", version(stack, parts), {}, "")
    assert list(manifest["forms"]) == ["joblib"]


def test_a_whole_candidate_has_both_forms_proved_and_covered(
    candidate: Candidate, candidate_dir: Path
) -> None:
    forms, proof = candidate.manifest["forms"], candidate.meta["forms"]
    assert set(forms) == set(proof) == {"joblib", "onnx"}
    for name in (*forms.values(), candidate.manifest["parts"]):
        content = (candidate_dir / name).read_bytes()
        assert candidate.manifest["sha256"][name] == hashlib.sha256(content).hexdigest()
    assert proof["onnx"]["rows"] == 10_032
    assert proof["onnx"]["difference"] < 1e-6
    assert candidate.manifest["numpy"] == np.__version__
    gates = {gate.name: gate for gate in candidate.gates}
    assert "10,032 rows" in gates["loads"].verdict
    assert gates["budget"].limit == 1
    assert gates["budget"].value == proof["onnx"]["predict_ms"]


def test_a_champion_is_asked_through_its_parts(candidate: Candidate, candidate_dir: Path) -> None:
    manifest = candidate_dir / artifact.manifest_name(candidate.manifest["model_id"])
    golden = json.loads((candidate_dir / candidate.manifest["golden"]).read_text())
    champion = artifact.read_champion(manifest)
    given = champion.predict(np.array(golden["rows"]))
    assert np.abs(given - golden["probabilities"]).max() < 1e-12
    model = joblib.load(candidate_dir / candidate.manifest["meta_classifier"])
    x, _ = rows(200, seed=8)
    saved = model.predict_proba(pd.DataFrame(x, columns=features.NAMES))
    parts = loaded((candidate_dir / candidate.manifest["parts"]).read_bytes())
    assert np.abs(parts.predict(x) - saved).max() < 1e-12


@pytest.mark.parametrize("module", ["onnx_selftest", "joblib_selftest"])
def test_the_self_tests_import_nothing_of_ours(module: str) -> None:
    source = (Path(proofs.__file__).parent / f"{module}.py").read_text()
    assert "from retrain" not in source
