import asyncio

from daemon.mqtt.messages import CommandReply
from daemon.runtime.announcements import Announcement, Announcements, announced
from tests.captured import capture_logs


def told(text: str = "it is full") -> Announcement:
    return announced("", {"kind": "alert", "at_ms": 5, "text": text, "severity": "critical"})


def test_an_announcement_says_what_its_message_says() -> None:
    message = {"kind": "drift", "at_ms": 7, "text": "rv_1h drifted", "feature": "rv_1h"}
    one = announced("BTC-5m", message, seq=3)
    assert (one.slot, one.kind, one.at_ms, one.seq) == ("BTC-5m", "drift", 7, 3)
    assert (one.severity, one.fields, one.message) == ("info", {"feature": "rv_1h"}, message)


def test_everybody_who_listens_is_told_until_they_stop() -> None:
    announcements, first, second = Announcements(), list[Announcement](), list[Announcement]()
    stop = announcements.listen(first.append)
    announcements.listen(second.append)
    announcements.tell(told())
    stop()
    stop()
    announcements.tell(told())
    assert (len(first), len(second)) == (1, 2)


def test_a_listener_that_fails_is_logged_once_and_harms_nobody() -> None:
    announcements, heard = Announcements(), list[Announcement]()

    def fail(_: Announcement) -> None:
        raise RuntimeError

    announcements.listen(fail)
    announcements.listen(heard.append)
    with capture_logs() as lines:
        announcements.tell(told())
        announcements.tell(told())
    assert len(heard) == 2
    assert [line["event"] for line in lines] == ["announcement.listener_failed"]


async def test_an_answer_reaches_who_waits_for_it_and_nobody_else() -> None:
    announcements = Announcements()
    mine, other = announcements.answer_to("mine"), announcements.answer_to("other")
    announcements.answered(CommandReply(request_id="strange", accepted=True, detail=""))
    for detail in ("first", "second"):  # an answer that comes twice counts once
        announcements.answered(CommandReply(request_id="mine", accepted=True, detail=detail))
    assert (await mine).detail == "first"
    assert not other.done()
    other.cancel()
    await asyncio.sleep(0)
    announcements.answered(CommandReply(request_id="other", accepted=True, detail=""))
    assert announcements._awaited == {}
