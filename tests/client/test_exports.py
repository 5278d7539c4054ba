"""What a bot imports is there, and brings nothing heavy with it."""

import subprocess
import sys

import pytest

import hyperdrift


@pytest.mark.parametrize("name", hyperdrift.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(hyperdrift, name).__name__ == name


def test_the_list_is_sorted_and_complete() -> None:
    assert hyperdrift.__all__ == sorted(hyperdrift._HOMES)
    assert dir(hyperdrift) == hyperdrift.__all__
    with pytest.raises(AttributeError, match="no attribute 'Keeper'"):
        _ = hyperdrift.Keeper


def test_importing_every_slot_brings_neither_numbers_nor_the_daemon_into_the_bot() -> None:
    code = (
        "import sys\n"
        "from hyperdrift import BlockingModelSlot, ModelSlot, PointerSlot\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'sklearn', 'joblib', 'river', 'aiohttp', 'typer',\n"
        "         'msgspec', 'structlog', 'watchdog', 'daemon', 'retrain', 'monitor'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
