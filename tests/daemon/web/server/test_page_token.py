"""The token is in a file that only the daemon's user, or an operator's group, may read."""

import stat
from pathlib import Path

from daemon.web.server.page_token import PageToken


def test_the_first_start_makes_a_token_that_nobody_else_may_read(tmp_path: Path) -> None:
    token = PageToken(tmp_path)
    assert not token.fits("")
    assert not token.own()
    value = token.read()
    assert len(value) >= 40
    assert [token.fits(offered) for offered in (value, value + "x", "", "\udcff")] == [
        *(True, False, False, False),
    ]
    assert stat.S_IMODE(token.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.path.parent.stat().st_mode) == 0o700


def test_in_a_folder_of_a_group_the_group_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web").chmod(0o2710)
    token = PageToken(tmp_path)
    for _ in range(2):
        token.own()
        assert stat.S_IMODE(token.path.stat().st_mode) == 0o640
        token.path.chmod(0o644)  # by somebody who did not think


def test_bytes_that_are_no_text_are_a_token_that_nobody_has(tmp_path: Path) -> None:
    token = PageToken(tmp_path)
    token.replace()
    token.path.write_bytes(b"\xff" * 100_000)
    token.own()
    assert not token.fits("\xff")


def test_a_token_that_another_process_replaced_is_noticed(tmp_path: Path) -> None:
    token = PageToken(tmp_path)
    assert [token.own(), token.own()] == [False, False]
    new = PageToken(tmp_path).replace()
    assert not token.fits(new)
    assert [token.own(), token.own()] == [True, False]
    assert token.fits(new)
    token.path.write_text("")
    assert token.own()  # an empty one opens nothing; a new one is made
    assert token.read()
