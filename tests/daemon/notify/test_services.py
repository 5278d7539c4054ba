import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daemon.notify.notice import Notice
from daemon.notify.services import load
from hyperdrift.errors import ConfigError
from tests.daemon.notify.sinks import sink


@contextmanager
def logged_by_all() -> Iterator[list[str]]:
    """Collect what reaches the log of the process, down to the least line."""
    lines, root = list[str](), logging.getLogger()
    handler, was = logging.Handler(), root.level
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    root.addHandler(handler)
    root.setLevel(0)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(was)


NEWS = Notice(title="BTC-5m: model live", text="m1 is live\nNothing to do.", weight="critical")


def test_a_message_arrives_with_its_first_line_and_its_picture() -> None:
    with sink() as place:
        (service,) = load([f"json://{place.place}/ok"])
        picture = Notice(title="Week", text="words", picture=b"\x89PNG")
        assert service.send(NEWS).sent
        assert service.send(picture).sent
    first, second = place.got
    assert (first["title"], first["message"]) == (NEWS.title, NEWS.text)
    assert second["attachments"][0]["filename"] == "equity.png"


def test_what_the_service_answers_is_said_without_any_part_of_its_address() -> None:
    with sink() as place, logged_by_all() as lines:
        (service,) = load([f"json://someone:pass%20word@{place.place}/500/s3cretpath?+X-Key=t0ken"])
        outcome = service.send(NEWS)
    assert (outcome.why, service.name) == ("it answered 500", "1 (json://127.0.0.1)")
    assert "no such chat" in outcome.answer
    said = f"{outcome} {service.name} {lines}"
    for secret in ("pass word", "pass%20word", "someone", "s3cretpath", "t0ken", "Basic c29tZ"):
        assert secret not in said


def test_a_redirect_is_not_followed_since_the_message_would_be_lost() -> None:
    with sink() as place:
        (service,) = load([f"json://{place.place}/302"])
        assert "it moved" in service.send(NEWS).why
    assert [one["title"] for one in place.got] == [NEWS.title]


def test_a_dead_port_is_named_as_such() -> None:
    with sink() as place:
        gone = place.place
    (service,) = load([f"json://{gone}/ok"])
    assert service.send(NEWS).why == "it refuses the connection"


def test_a_wrong_token_is_explained() -> None:
    with sink() as place:
        (service,) = load([f"json://{place.place}/401"])
        assert "the token or password in its address is wrong" in service.send(NEWS).why


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("tgram:/12345:secretsecret", "(?://...)"),
        ("tgram://secretsecret", "(tgram://...)"),
        ("nosuch://secretsecret", "(nosuch://...)"),
        ("json://", "(json://...)"),
        ("secretsecret", "(?://...)"),
    ],
)
def test_a_bad_address_is_named_by_number_and_scheme_only(url: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(["json://127.0.0.1/x", url])
    assert f"notify.urls number 2 {named}" in str(caught.value)
    assert "secretsecret" not in str(caught.value)


def test_a_token_in_the_place_of_a_host_is_not_shown() -> None:
    urls = [
        "tgram://123456789:abcdefg_hijklmnop/-100123",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "ntfy://mysecrettopic",
        "mailtos://me:pw@mail.example.org?to=a@example.org",
    ]
    names = [service.name for service in load(urls)]
    assert names[:3] == ["1 (tgram://...)", "2 (discord://...)", "3 (ntfy://...)"]
    assert "pw" not in names[3]
