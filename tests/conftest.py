"""What every test starts with."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Forget how a command under test set up logging: its stderr ends with the test."""
    yield
    structlog.reset_defaults()
