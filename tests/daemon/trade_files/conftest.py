"""Files of trades that are closed when a test ends."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.trade_files.trade_file import TradeFile
from tests.daemon.trade_files.reading import NOW_MS, Opened


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Open a file of the test's folder, with this content if one is given."""
    with ExitStack() as files:

        def begin(
            path: Path | str,
            content: bytes | str | None = None,
            *,
            columns: dict[str, str] | None = None,
            now_ms: int = NOW_MS,
        ) -> TradeFile:
            path = tmp_path / path
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            file = TradeFile(path, columns or {}, now_ms=lambda: now_ms)
            files.callback(file.close)
            return file

        yield begin
