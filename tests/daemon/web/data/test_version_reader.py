import os
from pathlib import Path
from typing import Any

import pytest

from daemon.registry.registry import Registry
from daemon.web.data.version_reader import VersionReader, gate_lines
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import certificate, write_version
from tests.daemon.web.data.history import certificate as whole_certificate

SLOT = SlotName("BTC", "5m")


class Counting(Registry):
    """A registry that counts how often its versions are read."""

    reads = 0

    def versions(self, slot: SlotName) -> Any:
        self.reads += 1
        return super().versions(slot)


def adopted(folder: Path, registry: Registry, number: int, meta: dict[str, Any]) -> str:
    return registry.adopt(SLOT, write_version(folder / str(number), number, meta=meta))


@pytest.fixture
def registry(tmp_path: Path) -> Counting:
    registry = Counting(tmp_path / "models")
    good = adopted(tmp_path, registry, 0, whole_certificate())
    adopted(tmp_path, registry, 1, certificate(refused=("overfit",)))
    registry.deploy(SLOT, good, reason="first", by="hyperdrift", at_ms=1_750_000_000_000)
    return registry


def test_versions_are_read_once_until_the_folder_changes(
    registry: Counting, tmp_path: Path
) -> None:
    versions_of = VersionReader(registry)
    assert versions_of.versions(SLOT) is versions_of.versions(SLOT)
    assert registry.reads == 1
    newest = adopted(tmp_path, registry, 2, whole_certificate())
    assert next(line.model_id for line in versions_of.versions(SLOT).lines) == newest
    registry.deploy(SLOT, newest, reason="x", by="hyperdrift", at_ms=1_750_000_900_000)
    assert [line.live for line in versions_of.versions(SLOT).lines] == [True, False, False]
    registry.pointer(SLOT).unlink()
    assert not any(line.live for line in versions_of.versions(SLOT).lines)


def test_the_list_says_what_refused_a_version_and_has_the_thresholds(registry: Counting) -> None:
    versions = VersionReader(registry).versions(SLOT)
    refused, good = versions.lines
    assert (refused.refused_by, refused.passed, good.passed) == (("overfit",), False, True)
    assert good.mean_return_bp == pytest.approx(12)
    assert versions.thresholds[good.model_id] == (0.4, 0.4)
    assert {gate.sentence for gate in versions.live_gates} == {"fine"}


def test_a_slot_without_a_folder_has_no_versions(tmp_path: Path) -> None:
    versions_of = VersionReader(Registry(tmp_path))
    assert versions_of.versions(SLOT).lines == ()
    assert versions_of.version(SLOT, "m1", "") is None


def test_a_damaged_version_is_shown_with_its_problem_and_breaks_nothing(
    registry: Counting,
) -> None:
    versions_of = VersionReader(registry)
    good = versions_of.versions(SLOT).lines[1].model_id
    meta = next(registry.folder(SLOT).glob(f"training_meta_{good}.json"))
    meta.write_bytes(b"{")
    os.utime(registry.folder(SLOT))
    view = versions_of.version(SLOT, good, "why")
    assert view is not None
    assert view.line.problem
    assert (view.cause, view.gates, view.has_report) == ("why", (), False)


def test_a_report_that_is_gone_is_not_offered(registry: Counting) -> None:
    versions_of = VersionReader(registry)
    good = versions_of.versions(SLOT).lines[1].model_id
    view = versions_of.version(SLOT, good, "")
    assert view is not None
    assert view.has_report
    next(registry.folder(SLOT).glob(f"report_{good}.html")).unlink()
    view = versions_of.version(SLOT, good, "")
    assert view is not None
    assert not view.has_report


@pytest.mark.parametrize("gates", [None, 5, "x", {}, [None, 5, []]])
def test_gates_of_other_software_are_left_out(gates: object) -> None:
    assert gate_lines({"gates": gates}) == ()
    assert gate_lines({}) == ()


def test_a_gate_of_other_software_keeps_what_can_be_read() -> None:
    given = {"name": "<b>", "passed": 1, "value": "high", "limit": True, "verdict": None}
    (gate,) = gate_lines({"gates": [given]})
    assert (gate.name, gate.passed, gate.value, gate.limit) == ("<b>", False, None, None)
    assert (gate.sentence, gate.why) == ("", "")
