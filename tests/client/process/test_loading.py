import gc
import sys
import threading

import pytest

from hyperdrift.loaded_model import preload
from hyperdrift.process.loading import IMPORTS, TURN_S, freeze_gc, gc_paused, spare_loop


def test_others_get_their_turn_soon_and_no_collection_starts_until_the_last_one_leaves() -> None:
    before = sys.getswitchinterval()
    first, second = gc_paused(), gc_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # not the one that came last
    assert sys.getswitchinterval() == pytest.approx(TURN_S, rel=0.1)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert (sys.getswitchinterval(), gc.isenabled()) == (before, True)


def test_a_process_that_collects_by_itself_or_switches_faster_is_left_so() -> None:
    before = sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(TURN_S / 5)
    try:
        with gc_paused():
            assert sys.getswitchinterval() == pytest.approx(TURN_S / 5, rel=0.1)
        assert sys.getswitchinterval() == pytest.approx(TURN_S / 5, rel=0.1)
        assert not gc.isenabled()
    finally:
        gc.enable()
        sys.setswitchinterval(before)


def test_what_stays_is_not_looked_at_again_and_what_comes_after_is() -> None:
    try:
        freeze_gc()
        spared = gc.get_freeze_count()
        assert spared > 10_000  # the libraries of this process
        assert len(gc.get_objects()) < spared / 10
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()


def test_a_loop_among_threads_gets_its_turn_soon_and_libraries_are_not_looked_at() -> None:
    before = sys.getswitchinterval()
    try:
        spare_loop()
        assert sys.getswitchinterval() == pytest.approx(TURN_S, rel=0.1)
        assert gc.get_freeze_count() > 10_000
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()


def test_two_threads_never_import_what_a_model_needs_at_once() -> None:
    done = threading.Event()

    def warm_up() -> None:
        preload("onnx")
        done.set()

    with IMPORTS:
        thread = threading.Thread(target=warm_up)
        thread.start()
        assert not done.wait(0.05)
    thread.join(120)
    assert done.is_set()
