"""A slot loads either form of a model, and says which it can load."""

import sys
from pathlib import Path

import numpy as np
import pytest

from daemon.registry.bot_compatibility import BotCompatibility
from daemon.registry.registry import Registry
from hyperdrift.errors import ConfigError, VersionRefused
from hyperdrift.live_model import LiveModel
from hyperdrift.loaded_model import installed_forms
from hyperdrift.mqtt.messages import BotPresence, decode, encode
from hyperdrift.pointer import PointerSlot
from hyperdrift.slot import ModelSlot
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import SLOT, rewrite, rows, write_version

NAME = SlotName.parse(SLOT)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "models")
    model_id = registry.adopt(NAME, write_version(tmp_path / "candidate", 1, portable=True))
    registry.deploy(NAME, model_id, reason="t", by="t", at_ms=1_760_000_000_000)
    return tmp_path / "models"


def answers(models: Path, form: str) -> tuple[str, np.ndarray]:
    with PointerSlot(models, SLOT, form=form) as slot:
        made = [slot.predict(row.tolist()) for row in rows()[:50]]
        loaded = slot._model._live
        assert loaded is not None
        return loaded.form, np.array([[p.p_down, p.p_neutral, p.p_up] for p in made])


def test_both_forms_of_a_version_answer_alike(models: Path) -> None:
    usual, given = answers(models, "")
    assert usual == "onnx"
    for form in ("onnx", "joblib"):
        loaded, other = answers(models, form)
        assert loaded == form
        assert np.abs(other - given).max() < 1e-9


def test_without_onnxruntime_the_joblib_is_loaded(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert installed_forms() == ("joblib",)
    assert answers(models, "")[0] == "joblib"


def test_a_version_of_before_the_portable_form_is_loaded_from_its_joblib(tmp_path: Path) -> None:
    live = LiveModel(NAME, None, "builtin")
    live.take(write_version(tmp_path, 1))
    assert live.predict(rows()[0].tolist()).model_id
    only = LiveModel(NAME, None, "builtin", "onnx")
    with pytest.raises(VersionRefused, match="it has no onnx form, it has joblib; retrain"):
        only.take(write_version(tmp_path, 2))


def test_a_form_that_does_not_exist_or_cannot_be_loaded_here_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="form is 'pmml', must be onnx or joblib, or left out"):
        ModelSlot("mqtt://127.0.0.1", SLOT, bot_id="b", form="pmml")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match=r"joblib form needs is not installed: pip install '.*"):
        PointerSlot(tmp_path, SLOT, form="joblib")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'hyperdrift-client\[onnx\]'"):
        PointerSlot(tmp_path, SLOT)


def test_the_portable_form_of_another_version_is_refused(tmp_path: Path) -> None:
    first, second = (write_version(tmp_path, n, portable=True) for n in (1, 2))
    was, other = LiveModel(NAME, None, "builtin"), LiveModel(NAME, None, "builtin")
    was.take(first)
    names = [path.stem.removeprefix("manifest_") for path in (first, second)]
    swapped = first.read_text().replace(f"model_{names[0]}.onnx", f"model_{names[1]}.onnx")
    first.write_text(swapped)
    with pytest.raises(VersionRefused, match="SHA-256"):
        other.take(first)
    rewrite(second, model_id=names[0])
    with pytest.raises(VersionRefused, match="its model_id is"):
        other.take(second)


@pytest.mark.parametrize("form", ["onnx", "joblib"])
def test_features_that_are_not_known_are_refused_in_either_form(models: Path, form: str) -> None:
    row = rows()[0].tolist()
    with PointerSlot(models, SLOT, form=form) as slot:
        for wrong in ([*row[:-1], float("nan")], [*row[:-1], float("inf")], row[:-1]):
            with pytest.raises(
                ValueError, match=r"feature S_bot is nan|feature S_bot is inf|there are 16 features"
            ):
                slot.predict(wrong)


def test_a_bot_that_loads_the_portable_form_may_have_any_scikit_learn_or_none() -> None:
    compatibility = BotCompatibility()
    old = BotPresence(online=True, bot_id="b", sklearn="1.4.2")
    assert "set retrain.python" in compatibility.fault(old)
    new = BotPresence(online=True, bot_id="b", sklearn="1.4.2", forms=("onnx", "joblib"))
    assert not compatibility.fault(new)
    assert decode(encode(new), BotPresence) == new
    assert not compatibility.fault(BotPresence(online=True, bot_id="b", forms=("onnx",)))
