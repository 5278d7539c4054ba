import re
from pathlib import Path
from typing import get_args

import pytest

from daemon.demo.fault_script import check_coins, read_script
from daemon.demo.faults import BadBar, Disconnect, Fault, HttpError, Late, Stall
from hyperdrift.errors import BadInput


def script(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text)
    return path


def entry(folder: Path, text: str) -> Path:
    return script(folder, f"[[faults]]\n{text}\n")


def test_a_script_says_what_goes_wrong_and_when(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        '[[faults]]\nkind = "disconnect"\nat_ms = 600000\n'
        '[[faults]]\nkind = "late"\ncoin = "BTC"\nat_wall_s = 1.5\nfor_wall_s = 2\ndelay_ms = 9\n'
        '[[faults]]\nkind = "bad_bar"\nat_ms = 0\nfor_ms = 1\nnumbers = "crossed"\nwhere = "rest"\n'
        '[[faults]]\nkind = "http_error"\nat_ms = 0\nfor_ms = 5\nstatus = 429\n',
    )
    assert read_script(path) == (
        Disconnect(at_ms=600_000),
        Late(coin="BTC", at_wall_s=1.5, for_wall_s=2.0, delay_ms=9),
        BadBar(at_ms=0, for_ms=1, numbers="crossed", where="rest"),
        HttpError(at_ms=0, for_ms=5, status=429),
    )


def test_every_kind_can_be_written(tmp_path: Path) -> None:
    needed = {"late": "delay_ms = 1", "slow": "delay_ms = 1", "stale_rest": "delay_ms = 1"}
    needed |= {"clock_jump": "jump_ms = -1"}
    kinds = [kind.__struct_config__.tag for kind in get_args(Fault)]
    for kind in kinds:
        lasting = "" if kind == "expired" else "for_ms = 1"
        text = f'kind = "{kind}"\nat_ms = 0\n{lasting}\n{needed.get(kind, "")}'
        (fault,) = read_script(entry(tmp_path, text))
        assert fault.__struct_config__.tag == kind


def test_the_script_and_the_table_of_the_howto_are_true(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/howto/fault-scripts.md").read_text()
    assert len(read_script(script(tmp_path, page.split("```toml\n")[1].split("```")[0]))) == 5
    told = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    assert sorted(told) == sorted(kind.__struct_config__.tag for kind in get_args(Fault))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "stal"\nat_ms = 1', "number 1: kind is 'stal'; did you mean 'stall'?"),
        ("at_ms = 1", "kind is missing; write one of disconnect, expired, stall"),
        ('kind = "stall"\nat_ms = 1', "stall: for_ms is missing; write how long"),
        ('kind = "stall"\nfor_ms = 1', "stall: at_ms is missing; write when it begins"),
        ('kind = "stall"\nat_ms = -1\nfor_ms = 1', "stall: at_ms: expected `int` >= 0, was -1"),
        ('kind = "stall"\nat_ms = "1s"\nfor_ms = 1', "at_ms: expected `int | null`, got `str`"),
        ('kind = "stall"\nat_m = 1', "'at_m' is not a key of it; did you mean 'at_ms'?"),
        ('kind = "stall"\nat_ms = 1\nfor_ms = 1\ncoin = "BTC"', "'coin' is not a key of it"),
        ('kind = "stall"\nat_ms = 1\nfor_wall_s = 1', "it keeps to two clocks; write at_ms"),
        ('kind = "no_trades"\nat_wall_s = 1\nfor_wall_s = 1', "names no bars; write at_ms"),
        ('kind = "expired"\nat_ms = 1\nfor_ms = 1', "expired: it happens at once; leave for_ms"),
        ('kind = "late"\nat_ms = 1\nfor_ms = 1', "late: delay_ms is missing; write it, in"),
        (
            'kind = "http_error"\nat_ms = 1\nfor_ms = 1\nstatus = 700',
            "status: expected `int` <= 599",
        ),
        ('kind = "http_error"\nat_ms = 1\nfor_ms = 1\nbody = "xml"', "body: invalid enum value"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(
    tmp_path: Path, text: str, says: str
) -> None:
    path = entry(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        read_script(path)
    assert str(caught.value).startswith(f"{path}: [[faults]] number 1: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is nothing in a fault script; write [[faults]]"),
        ('[[fault]]\nkind = "stall"', "'fault' is no part of a fault script"),
        ("[[faults]", "is not TOML"),
        ("a = " + "[" * 10_000, "is not TOML"),
        ("a = " + "9" * 10_000, "is not TOML"),
        ("[[faults]]\nkind = []", "number 1: kind is missing"),
        ("[[faults]]\nkind = [1]", "number 1: kind is [1]"),
        ("faults = [1]", "number 1: kind is missing"),
    ],
)
def test_a_file_that_is_no_script_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_script(script(tmp_path, text))
    assert says in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.toml: cannot be read"):
        read_script(tmp_path / "none.toml")


def test_a_fault_of_a_coin_that_is_not_replayed_is_refused() -> None:
    faults = (Stall(at_ms=0, for_ms=1), Late(coin="btc", at_ms=0, for_ms=1, delay_ms=1))
    check_coins(faults, {"BTC", "btc"})
    with pytest.raises(BadInput, match="coin 'btc', which is not replayed; write BTC or ETH"):
        check_coins(faults, {"BTC", "ETH"})
