"""The bars of a job are the same arrays on this host and after a journey to another."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrain.forms import job_bars

COLUMNS = st.integers(0, 40).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "t": arrays.arrays(np.int64, n),
            "close": arrays.arrays(np.float64, n),
            "known": arrays.arrays(np.bool_, n),
        }
    )
)


@pytest.mark.parametrize("travels", [False, True])
@given(columns=COLUMNS)
def test_each_array_comes_back_bit_by_bit_and_may_be_changed(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Any], *, travels: bool
) -> None:
    folder = tmp_path_factory.mktemp("job")
    if travels:
        (folder / job_bars.ARROW).write_bytes(job_bars.to_arrow(columns))
    else:
        job_bars.write(folder, columns)
    found = job_bars.read(folder)
    assert list(found) == list(columns)
    for name, column in columns.items():
        assert found[name].dtype == column.dtype
        assert found[name].tobytes() == column.tobytes(), "also which NaN it is"
        assert found[name].flags.writeable


def test_columns_of_several_lengths_do_not_travel() -> None:
    with pytest.raises(ValueError, match="length"):
        job_bars.to_arrow({"t": np.arange(3), "close": np.ones(4)})


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_stream_that_is_cut_off_is_no_bars(tmp_path: Path, share: float) -> None:
    whole = job_bars.to_arrow({"t": np.arange(1000), "close": np.ones(1000)})
    (tmp_path / job_bars.ARROW).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"bars\.arrow holds no Arrow stream"):
        job_bars.read(tmp_path)


def test_an_arrow_file_in_place_of_a_stream_is_no_bars(tmp_path: Path) -> None:
    table = pa.table({"t": [1, 2]})
    with pa.ipc.new_file(str(tmp_path / job_bars.ARROW), table.schema) as file:
        file.write_table(table)
    with pytest.raises(ValueError, match="holds no Arrow stream"):
        job_bars.read(tmp_path)
