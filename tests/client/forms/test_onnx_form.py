"""The portable form: loaded without scikit-learn, and refused where it is not the version's."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from hyperdrift import loaded_model
from hyperdrift.errors import VersionRefused
from hyperdrift.loaded_model import form_of, installed_forms, load_version
from hyperdrift.version_files import read_manifest
from tests.daemon.versions import SLOT, as_onnx, fitted, replace_file, rewrite, rows, write_version

ALONE = """
import sys
from pathlib import Path
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit

loaded = admit(Path(sys.argv[1]), SlotName.parse(sys.argv[2]), form="onnx")
print(loaded.form, loaded.predict([[0.1] * 17]).shape)
heavy = {"sklearn", "scipy", "joblib", "pandas", "threadpoolctl"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return write_version(tmp_path, 1, portable=True)


def forge(manifest: Path, content: bytes) -> None:
    """Put another portable form into a version, digest and all."""
    rewrite(manifest, other=read_manifest(manifest).forms["onnx"])
    replace_file(manifest, "other", content)


def test_both_forms_answer_alike_and_the_portable_one_is_usual(both: Path) -> None:
    one, other = load_version(both), load_version(both, "joblib")
    assert (one.form, other.form, installed_forms()[0]) == ("onnx", "joblib", "onnx")
    assert np.abs(one.predict(rows()) - other.predict(rows())).max() < 1e-12
    assert one.predict(rows()[0:1].tolist()).shape == (1, 3)


def test_the_live_model_answers_while_another_one_is_loaded(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, made = load_version(both), onnxruntime.InferenceSession
    with ThreadPoolExecutor(1) as thread:

        def slow(*args: Any, **options: Any) -> onnxruntime.InferenceSession:
            thread.submit(live.predict, rows()).result(timeout=120)
            return made(*args, **options)

        monkeypatch.setattr(onnxruntime, "InferenceSession", slow)
        assert load_version(both).form == "onnx"


def test_it_needs_nothing_but_numpy_and_onnxruntime(both: Path) -> None:
    command = [sys.executable, "-c", ALONE, str(both), SLOT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["onnx (1, 3)", "[]"]


def test_a_version_from_before_has_the_joblib_only(tmp_path: Path) -> None:
    old = write_version(tmp_path, 1)
    stored = json.loads(old.read_text())
    del stored["forms"], stored["numpy"]
    old.write_text(json.dumps(stored))
    document = read_manifest(old)
    assert load_version(old).form == form_of(document) == "joblib"
    with pytest.raises(VersionRefused, match="it has no onnx form, it has joblib; retrain"):
        load_version(old, "onnx")


def test_where_onnxruntime_is_missing_the_joblib_is_loaded(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_model, "installed_forms", lambda: ("joblib",))
    assert load_version(both).form == "joblib"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_refused(both: Path, bad: float) -> None:
    asked = rows()[:2].copy()
    asked[1, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        load_version(both).predict(asked)


@pytest.mark.parametrize("shape", [(1, 16), (17,), (0,), (1, 1, 17)])
def test_rows_of_another_shape_are_refused(both: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(n, 17\)"):
        load_version(both).predict(np.zeros(shape))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cannot be loaded"),
        (b"not a model", "cannot be loaded"),
        (as_onnx(fitted(1), "20250101_000000_abc"), "its model_id is 20250101_000000_abc"),
    ],
)
def test_another_file_under_a_digest_of_its_own_is_refused(
    both: Path, content: bytes, why: str
) -> None:
    forge(both, content)
    with pytest.raises(VersionRefused, match=why):
        load_version(both)


def test_the_form_of_another_model_fails_the_golden_rows(both: Path) -> None:
    forge(both, as_onnx(fitted(2), read_manifest(both).model_id))
    with pytest.raises(VersionRefused, match=r"golden rows come out .* off; update onnxruntime"):
        load_version(both)
    assert load_version(both, "joblib").form == "joblib"


def test_an_altered_file_is_refused_before_it_is_loaded(both: Path) -> None:
    path = both.parent / read_manifest(both).forms["onnx"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VersionRefused, match="SHA-256"):
        load_version(both, "joblib")


@pytest.mark.parametrize("forms", [{"onnx": "../model.onnx"}, {"onnx": ["a"]}, ["onnx"], "onnx"])
def test_a_manifest_with_other_forms_is_refused(both: Path, forms: object) -> None:
    rewrite(both, forms=forms)
    with pytest.raises(VersionRefused, match="not a usable manifest"):
        load_version(both)
