"""What every test starts with."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.daemon.brokers import Embedded, Mosquitto

# One run on a busy machine decides: it draws what any run draws, and no example is too slow.
settings.register_profile(
    "hyperdrift", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hyperdrift")
# A proxy of this machine's knows no venue of a test.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]
# Daemons of several tests run at once on one host; the tests of the page say where it is.
os.environ["HYPERDRIFT_WEB__LISTEN"] = ""
# How long an example takes says how busy the host is. The same examples come in each run;
# `--hypothesis-profile=searching` looks for others.
for _profile, _is_steady in (("searching", False), ("steady", True)):
    settings.register_profile(
        _profile,
        deadline=None,
        derandomize=_is_steady,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(_profile)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules with whole machines first: at the end nobody waits for the longest."""
    items.sort(key=lambda item: "tests/system/" not in item.nodeid)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Forget how a command under test set up logging: its stderr ends with the test."""
    yield
    structlog.reset_defaults()
    logging.getLogger("hyperdrift").setLevel(logging.NOTSET)


@pytest.fixture(params=[Mosquitto, Embedded])
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Mosquitto | Embedded]:
    """A running broker, each kind in turn."""
    made: Mosquitto | Embedded = request.param(tmp_path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
