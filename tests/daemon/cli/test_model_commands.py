"""The registry as a person uses it: whole commands, real files, real signatures."""

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon import cli
from daemon.config import loader
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.journal_kinds import POINTER_MOVED
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import certificate, replace_file, write_version

SLOT = SlotName("BTC", "5m")
NOW = 1_760_000_000_000


@dataclass
class Shell:
    """A data folder with versions, and a command line."""

    root: Path
    call: Callable[..., tuple[int, str, str]]
    made: int = 0

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def registry(self) -> Registry:
        signer = own_signer(self.data_dir)
        return Registry(self.data_dir / "models", signer, ring=trusted_keys(self.data_dir))

    def version(self, **options: Any) -> str:
        self.made += 1
        manifest = write_version(self.root / f"candidate{self.made}", self.made, **options)
        return self.registry.adopt(SLOT, manifest)

    def deploy(self) -> str:
        model_id = self.version()
        manifest = self.registry.deploy(SLOT, model_id, reason="drift", by="hyperdrift", at_ms=NOW)
        with open_store(self.data_dir) as store:
            deployment_log.note(store, SLOT, manifest, NOW)
        return model_id

    def moves(self) -> list[dict[str, Any]]:
        with open_store(self.data_dir) as store:
            return [entry.body for entry in store.journal(SLOT, kinds=[POINTER_MOVED])]

    def live(self) -> str | None:
        manifest = self.registry.live(SLOT)
        return manifest.model_id if manifest else None


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    config = tmp_path / "hyperdrift.toml"
    config.write_text(f'[daemon]\ndata_dir = "{tmp_path / "data"}"\n')
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hyperdrift", *words, "--config", str(config)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return Shell(tmp_path, call)


def test_list_marks_what_is_live_and_previous_and_says_who_promoted_what(shell: Shell) -> None:
    one, two = shell.deploy(), shell.deploy()
    shell.version(meta=certificate(refused=("direction",)))
    code, out, _ = shell.call("models", "list", "--slot", "BTC-5m")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if "_" in line]
    assert rows[0][-1] == "direction"
    assert rows[1][:2] == ["live", two]
    assert rows[2][:2] == ["previous", one]
    _, out, _ = shell.call("models", "list", "--slot", "BTC-5m", "--json")
    assert [info["model_id"] for info in json.loads(out)][1:] == [two, one]


def test_without_a_slot_the_versions_of_all_are_listed(shell: Shell) -> None:
    one = shell.deploy()
    _, out, _ = shell.call("models", "list")
    assert [line.split()[:2] for line in out.splitlines() if "_" in line] == [["live", one]]
    manifest = write_version(shell.root / "other", 9, slot="ETH-1h")
    two = shell.registry.adopt(SlotName("ETH", "1h"), manifest)
    (shell.data_dir / "models" / "notes-of-mine").mkdir()
    _, out, _ = shell.call("models", "list")
    rows = [line.split() for line in out.splitlines() if "_" in line]
    assert [row[:3] for row in rows[:1]] == [["live", "BTC-5m", one]]
    assert rows[1][:2] == ["ETH-1h", two]
    _, out, _ = shell.call("models", "list", "--json")
    assert [info["slot"] for info in json.loads(out)] == ["BTC-5m", "ETH-1h"]


def test_the_only_slot_needs_no_name_and_one_of_several_does(shell: Shell) -> None:
    one, two = shell.deploy(), shell.deploy()
    code, out, _ = shell.call("models", "rollback", "--reason", "worse")
    assert (code, shell.live()) == (0, one)
    assert f"{one} is live, before it {two}" in out
    several = '[[slots]]\ncoin = ["BTC", "ETH"]\n'
    with (shell.root / "hyperdrift.toml").open("a") as config:
        config.write(several)
    for words in (["models", "verify"], ["models", "prune"], ["command", "retrain"]):
        code, out, err = shell.call(*words)
        assert (code, out) == (2, "")
        assert "write --slot BTC-5m, ETH-5m" in err
    assert shell.live() == one


def test_show_tells_gates_scores_and_files_of_one_version_named_by_its_beginning(
    shell: Shell,
) -> None:
    one = shell.deploy()
    code, out, _ = shell.call("models", "show", one[:15], "--slot", "BTC-5m")
    assert code == 0
    assert f"model     {one}" in out
    assert "pass  direction" in out
    assert f"meta_classifier_{one}.joblib" in out
    _, out, _ = shell.call("models", "show", one, "--slot", "BTC-5m", "--json")
    shown = json.loads(out)
    assert shown["scores"]["test"]["skill"] == 0.03
    assert shown["files"][f"golden_{one}.json"]["bytes"] > 1000


def test_show_tells_each_form_and_what_it_was_proved_to(shell: Shell) -> None:
    proof = {"error": "", "difference": 4e-16, "rows": 10_032, "predict_ms": 0.02}
    proof |= {"python": "3.11.7", "library": "1.32.0"}
    one = shell.version(portable=True, meta=certificate() | {"forms": {"onnx": proof}})
    _, out, _ = shell.call("models", "show", one, "--slot", "BTC-5m")
    assert "onnx      equal on 10,032 rows to 4.0e-16 under onnxruntime 1.32.0" in out
    assert "joblib    its certificate has no proof of it" in out
    _, out, _ = shell.call("models", "show", one, "--slot", "BTC-5m", "--json")
    shown = json.loads(out)
    assert shown["forms"]["onnx"] == {"file": f"model_{one}.onnx", **proof}
    assert shown["numpy"] == np.__version__


def test_a_version_that_does_not_exist_is_one_line_and_exit_code_three(shell: Shell) -> None:
    shell.deploy()
    for words in (["show", "2020"], ["verify", "2020"], ["promote", "2020", "--reason", "x"]):
        code, out, err = shell.call("models", *words, "--slot", "BTC-5m")
        assert (code, out) == (3, "")
        assert "no such version; `hyperdrift models list --slot BTC-5m`" in err
        assert err.count("\n") == 1


def test_a_slot_without_versions_is_one_line(shell: Shell) -> None:
    code, _, err = shell.call("models", "rollback", "--slot", "SOL-5m")
    assert (code, err.count("\n")) == (2, 1)
    assert "SOL-5m has no versions" in err


def test_a_refused_version_is_promoted_by_hand_only_with_a_reason_and_recorded_as_such(
    shell: Shell,
) -> None:
    one = shell.deploy()
    two = shell.version(meta=certificate(refused=("direction",)))
    assert shell.call("models", "promote", two, "--slot", "BTC-5m")[0] == 2
    assert shell.call("models", "promote", two, "--slot", "BTC-5m", "--reason", " ")[0] == 2
    assert shell.live() == one
    words = ("models", "promote", two, "--slot", "BTC-5m", "--reason", "I know why", "--json")
    code, out, _ = shell.call(*words)
    assert code == 0
    assert json.loads(out) == {
        "model_id": two, "previous_id": one, "through": "the folder", "by": "alice",
        "reason": "I know why",
    }  # fmt: skip
    move = shell.moves()[-1]
    assert (move["action"], move["by"], move["reason"]) == ("promote", "alice", "I know why")
    assert move["promoted_by"] == "alice"
    code, out, _ = shell.call("models", "list", "--slot", "BTC-5m")
    assert "refused by direction; promoted by alice" in out


def test_a_rollback_by_hand_goes_back_and_says_so_in_the_journal(shell: Shell) -> None:
    one, two, three = (shell.deploy() for _ in range(3))
    code, out, _ = shell.call("models", "rollback", "--slot", "BTC-5m", "--reason", "worse")
    assert code == 0
    assert out == f"{two} is live, before it {three} (through the folder)\n"
    code, _, _ = shell.call("models", "rollback", "--slot", "BTC-5m", "--to", one)
    assert (code, shell.live()) == (0, one)
    told = [(m["action"], m["model_id"], m["by"], m["reason"]) for m in shell.moves()[3:]]
    assert told == [("rollback", two, "alice", "worse"), ("rollback", one, "alice", "")]
    code, _, err = shell.call("models", "rollback", "--slot", "BTC-5m")
    assert (code, err.count("\n")) == (3, 1)
    assert "nothing to roll back to" in err


def test_a_rollback_repairs_a_lost_pointer(shell: Shell) -> None:
    one, _two = shell.deploy(), shell.deploy()
    shell.registry.pointer(SLOT).unlink()
    code, out, _ = shell.call("models", "verify", "--slot", "BTC-5m")
    assert code == 3
    assert "LATEST.json: REFUSED: it is missing; `hyperdrift models rollback` goes back" in out
    assert shell.call("models", "rollback", "--slot", "BTC-5m")[0] == 0
    assert shell.live() == one


def test_an_old_pointer_that_comes_back_is_found_out(shell: Shell) -> None:
    shell.deploy()
    old = shell.registry.pointer(SLOT).read_bytes()
    shell.deploy()
    shell.registry.pointer(SLOT).write_bytes(old)
    code, out, _ = shell.call("models", "verify", "--slot", "BTC-5m")
    assert code == 3
    assert "REFUSED: an old LATEST.json came back; a newer one was live already" in out


def test_a_forged_version_that_is_not_live_is_found_out_by_its_signature(shell: Shell) -> None:
    shell.deploy()
    two = shell.version()
    replace_file(shell.registry.manifest_path(SLOT, two), "meta_classifier", b"a pickle")
    code, out, _ = shell.call("models", "verify", two, "--slot", "BTC-5m")
    assert code == 3
    assert f"{two}: REFUSED: the signature of its manifest is not ours" in out


def test_a_damaged_version_cannot_be_promoted(shell: Shell) -> None:
    one, two = shell.deploy(), shell.version()
    next(shell.registry.folder(SLOT).glob(f"meta_classifier_{two}.*")).write_bytes(b"cut")
    code, _, err = shell.call("models", "promote", two, "--slot", "BTC-5m", "--reason", "x")
    assert (code, shell.live()) == (3, one)
    assert "SHA-256" in err


def test_prune_keeps_what_is_needed_and_is_refused_while_the_daemon_runs(shell: Shell) -> None:
    one, two = shell.deploy(), shell.deploy()
    three, four = shell.version(), shell.version()
    with folder_lock(shell.data_dir):
        code, _, err = shell.call("models", "prune", "--slot", "BTC-5m", "--keep", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "stop it to prune" in err
    code, out, _ = shell.call("models", "prune", "--slot", "BTC-5m", "--keep", "1", "--json")
    assert (code, json.loads(out)) == (0, {"removed": [three]})
    assert [info.model_id for info in shell.registry.versions(SLOT)] == [four, two, one]


def test_promote_says_what_to_do_when_the_daemon_runs_and_its_broker_does_not_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERDRIFT_MQTT__PORT", "1")
    monkeypatch.setattr("daemon.admin.remote_client._CONNECT_S", 0.2)
    one, two = shell.deploy(), shell.version()
    with folder_lock(shell.data_dir):
        code, _, err = shell.call("models", "promote", two, "--slot", "BTC-5m", "--reason", "x")
    assert (code, err.count("\n"), shell.live()) == (4, 1, one)
    assert "or stop it and do this again" in err


def test_keygen_makes_a_pair_once_and_never_overwrites_it(shell: Shell) -> None:
    code, out, _ = shell.call("keygen")
    private, public = shell.data_dir / "keys/hyperdrift.key", shell.data_dir / "keys/hyperdrift.pub"
    assert code == 0
    assert str(public) in out
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    code, _, err = shell.call("keygen")
    assert (code, err.count("\n")) == (2, 1)
    assert "exists; move it away first" in err
    assert private.read_bytes() == before


def test_what_keygen_prints_can_be_pasted_where_it_says(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.root)
    code, out, _ = shell.call("keygen", "--out", 'o "k" é')
    assert code == 0
    assert "under [mqtt]" in out
    path = shell.root / "pasted.toml"
    path.write_text(f"[mqtt]\n{out.splitlines()[-1]}\n")
    assert loader.load(path).mqtt.command_keys == (str(shell.root / 'o "k" é.pub'),)
    line = shell.call("keygen")[1].splitlines()[-1]
    given = eval(f"dict({line})")
    assert Path(given["public_key"]).is_file()


def test_keygen_makes_an_operators_pair_where_it_is_told(shell: Shell) -> None:
    code, out, _ = shell.call("keygen", "--out", str(shell.root / "alice"), "--json")
    assert code == 0
    made = json.loads(out)
    assert stat.S_IMODE(Path(made["private"]).stat().st_mode) == 0o600
    assert Path(made["public"]) == shell.root / "alice.pub"
    code, out, _ = shell.call("keygen", "--out", str(shell.root / "bob.smith"))
    assert f"private key {shell.root}/bob.smith.key," in out
    code, _, err = shell.call("keygen", "--out", str(shell.root / "bob.smith.pub"))
    assert code == 2
    assert "bob.smith.key exists; move it away first" in err
    (shell.root / "file").touch()
    code, _, err = shell.call("keygen", "--out", str(shell.root / "file" / "alice"))
    assert (code, err.count("\n")) == (2, 1)


def test_a_key_that_cannot_sign_a_command_is_one_line_that_says_which_can(shell: Shell) -> None:
    made = json.loads(shell.call("keygen", "--out", str(shell.root / "alice"), "--json")[1])
    for path, why in ((made["public"], "it is no private key"), ("/nope", "No such file")):
        code, _, err = shell.call("command", "pause", "--slot", "BTC-5m", "--key", path)
        assert (code, err.count("\n")) == (2, 1)
        assert why in err
        assert err.endswith(": name FILE.key that `hyperdrift keygen --out FILE` made\n")


def retire_the_keys(shell: Shell, *, keep_public: bool) -> None:
    keys = shell.data_dir / "keys"
    (keys / "hyperdrift.key").rename(shell.root / "old.key")
    (keys / "hyperdrift.pub").rename((keys if keep_public else shell.root) / "retired-1.pub")


def test_a_change_of_keys_signs_what_is_live_again_and_leaves_the_way_back_open(
    shell: Shell,
) -> None:
    one, two = shell.deploy(), shell.deploy()
    retire_the_keys(shell, keep_public=True)
    assert shell.call("keygen")[0] == 0
    assert shell.live() == two
    code, out, _ = shell.call("models", "verify", "--slot", "BTC-5m")
    assert (code, out.count(": ok")) == (0, 3)
    assert shell.call("models", "rollback", "--slot", "BTC-5m")[0] == 0
    assert shell.live() == one
    assert shell.call("models", "verify", "--slot", "BTC-5m")[0] == 0


def test_after_the_loss_of_a_key_to_a_thief_nothing_that_it_signed_is_trusted(
    shell: Shell,
) -> None:
    shell.deploy()
    two = shell.deploy()
    retire_the_keys(shell, keep_public=False)
    code, _, err = shell.call("keygen")
    assert (code, err.count("\n")) == (3, 1)
    assert "is not ours" in err
    assert shell.call("models", "promote", two, "--slot", "BTC-5m", "--reason", "x")[0] == 3
    code, out, _ = shell.call("models", "verify", "--slot", "BTC-5m")
    assert (code, out.count("REFUSED")) == (3, 3)
    three = shell.version()  # of the new key
    assert shell.call("models", "promote", three, "--slot", "BTC-5m", "--reason", "new")[0] == 0
    assert shell.live() == three
