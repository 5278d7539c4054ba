"""What the code names in short has words on the pages."""

from daemon.web.pages.words import PHASES, STEPS
from monitor.phases import Phase
from retrain.steps import _PERCENT


def test_every_phase_and_every_step_of_a_retrain_has_words() -> None:
    assert {phase.value for phase in Phase} <= PHASES.keys()
    assert _PERCENT.keys() | {"start", "drift calibration"} <= STEPS.keys()
