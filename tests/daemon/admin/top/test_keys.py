"""What a terminal sends becomes the names of keys."""

import pytest

from daemon.admin.top.keys import named


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (b"jq", ["j", "q"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page_up", "page_down", "home", "end"]),
        (b"\r", ["enter"]),
        (b"\x1b", ["escape"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b[1;5Aq", ["q"]),
        (b"\x1b[200~u", ["u"]),
        (b"\x1b[", []),
        ("äq".encode(), ["q"]),
        (b"\x00\x01", []),
    ],
)
def test_keys_have_names_and_unknown_ones_have_none(given: bytes, names: list[str]) -> None:
    assert named(given) == names
