import json
from pathlib import Path

import pytest

from daemon.admin.notify_check import check_services, document, try_services
from daemon.cli.main import app
from daemon.config.schema import Config, NotifySection
from hyperdrift.errors import ConfigError
from tests.daemon.notify.sinks import sink


def named(*urls: str) -> Config:
    return Config(notify=NotifySection(urls=urls))


def test_each_service_is_sent_a_message_and_what_it_answered_is_said() -> None:
    with sink() as place:
        found = try_services(named(f"json://{place.place}/ok", f"json://{place.place}/401/s3cret"))
    assert [str(outcome).partition(":")[0] for _, outcome in found] == ["ok", "it answered 401"]
    assert [one["title"] for one in place.got] == ["hyperdrift: a test"] * 2
    whole = document(found)
    assert (whole["ok"], [one["ok"] for one in whole["services"]]) == (False, [True, False])
    assert "s3cret" not in str(whole)


def test_without_a_service_the_command_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match="names no service; write one"):
        try_services(Config())


def test_doctor_has_a_line_for_each_service_and_sends_nothing() -> None:
    with sink() as place:
        checks = check_services(named(f"json://{place.place}/ok", "ntfy://s3crettopic"))
    notes = [(check.problem, check.note) for check in checks]
    assert notes == [("", "1 (json://127.0.0.1), not tried"), ("", "2 (ntfy://...), not tried")]
    assert place.got == []
    (bad,) = check_services(named("nosuch://s3cret"))
    assert "number 1 (nosuch://...)" in bad.problem
    assert check_services(Config()) == []


def test_the_command_prints_one_document_and_ends_with_4_if_one_was_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hyperdrift.toml"
    with sink() as place:
        file.write_text(f'[notify]\nurls = ["json://{place.place}/500"]\n')
        with pytest.raises(SystemExit) as ended:
            app(["notify", "test", "--config", str(file), "--json"])
    assert ended.value.code == 4
    assert json.loads(capsys.readouterr().out)["services"][0]["service"] == "1 (json://127.0.0.1)"
