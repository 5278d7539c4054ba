"""The bars of a job: arrays in a file of its folder here, an Arrow stream on the way to a worker.

An Arrow stream names and types each column, so both hosts need no agreement but Arrow's. What is
read equals what was written, to the last bit, so a job gives the same model there and here. The
stream is the IPC streaming format of https://arrow.apache.org/docs/format/Columnar.html.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ARROW: Final = "bars.arrow"
_ARRAYS: Final = "bars.npz"

Columns = Mapping[str, NDArray[Any]]


def write(folder: Path, columns: Columns) -> None:
    """Write the bars of a job for this host.

    Args:
        folder: The folder of the job.
        columns: Arrays of shape (n,), by name.

    Raises:
        OSError: If they cannot be written.
    """
    arrays: dict[str, Any] = dict(columns)
    np.savez(folder / _ARRAYS, **arrays)


def read(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the bars of a job, arrays of shape (n,) by name; the caller may change them.

    Raises:
        OSError: If they cannot be read.
        ValueError: If they are damaged.
    """
    sent = folder / ARROW
    if sent.exists():
        return _from_arrow(sent.read_bytes())
    try:
        with (folder / _ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (EOFError, AttributeError, zipfile.BadZipFile) as e:
        raise ValueError(f"{_ARRAYS} holds no arrays ({e})") from e


def to_arrow(columns: Columns) -> bytes:
    """Return the bars as an Arrow stream of one record batch.

    Args:
        columns: Arrays of one shape (n,), by name.

    Raises:
        ValueError: If they are of several lengths.
    """
    import pyarrow as pa  # noqa: PLC0415 - of the extra `fleet`: who trains here alone has none

    batch = pa.record_batch({name: pa.array(column) for name, column in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _from_arrow(content: bytes) -> dict[str, NDArray[Any]]:
    import pyarrow as pa  # noqa: PLC0415 - see to_arrow

    try:
        with pa.ipc.open_stream(content) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (OSError, pa.ArrowException) as e:
        raise ValueError(f"{ARROW} holds no Arrow stream ({e})") from e
    return {name: np.array(table[name].to_numpy()) for name in table.column_names}
