from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.daemon.brokers import Iotcore, Mosquitto


@pytest.fixture(params=[Mosquitto, Iotcore])
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Mosquitto | Iotcore]:
    """A running broker, each kind in turn."""
    made: Mosquitto | Iotcore = request.param(tmp_path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
