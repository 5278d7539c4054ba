"""Every block of code in README and docs is run, or proved in the way that fits it."""

import ast
import csv
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]

from daemon.cli.main import app
from daemon.config import loader
from daemon.demo.fault_script import read_script
from daemon.market_data.order_flow import read_cohorts
from tests.docs.blocks import ROOT, Block, Command, blocks, commands, inline_code
from tests.docs.unproved import NOT_RUN, NOT_YET, RUN_BY

BLOCKS = blocks()
OURS = {"hyperdrift", "make", "pip", "python", "python3"}
KNOWN = {"csv", "ini", "json", "mermaid", "nginx", "python", "sh", "text", "toml", "ts", "yaml"}
CERTIFICATE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2
-subj /CN=localhost -keyout key -out crt
"""


def quietly(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=given, text=True, capture_output=True, check=False)


def of(*languages: str) -> Any:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


def test_each_block_says_what_it_is_in_a_word_that_is_proved_below() -> None:
    strange = [f"{each.place}: {each.language}" for each in BLOCKS if each.language not in KNOWN]
    assert strange == [], "say here how this language is proved"
    assert len(BLOCKS) > 80


def listed(block: Block) -> list[str]:
    """Return the entries of RUN_BY and NOT_RUN that mean a block."""
    return [
        key
        for key in (*RUN_BY, *NOT_RUN)
        if key == block.page or f"{block.page}: {block.code}".startswith(key)
    ]


def foreign(block: Block) -> set[str]:
    """Return the programs of a block that nothing here proves."""
    return {command.program for command in commands(block)} - OURS


def test_a_block_with_commands_of_other_programs_is_listed_once_and_no_entry_is_stale() -> None:
    shells = [block for block in BLOCKS if block.language == "sh"]
    wanted = [block for block in shells if foreign(block)]
    missing = {block.place: foreign(block) for block in wanted if len(listed(block)) != 1}
    assert missing == {}, "name the test that runs it, or the reason, in unproved.py"
    needed = {key for block in wanted for key in listed(block)}
    assert set(RUN_BY) | set(NOT_RUN) == needed
    assert all(len(reason) > 15 for reason in NOT_RUN.values())


def test_each_test_that_is_said_to_run_a_block_is_there() -> None:
    for named in RUN_BY.values():
        path, _, function = named.partition("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        functions = {getattr(node, "name", "") for node in tree.body}
        assert not function or function in functions, named


def test_the_shell_can_read_each_of_its_blocks() -> None:
    for block in BLOCKS:
        if block.language == "sh":
            code = re.sub(r"<([\w ]+)>", r"\1", block.code)  # <this repository>
            done = quietly("bash", "-n", given=code)
            assert done.returncode == 0, f"{block.place}: {done.stderr}"


def ours(program: str) -> list[Command]:
    found = [each for block in BLOCKS if block.language == "sh" for each in commands(block)]
    return [command for command in found if command.program.startswith(program)]


def read_by_the_command_line(words: list[str]) -> str:
    """Give words to the real command line without doing anything; return its name."""
    context = typer.main.get_command(app).make_context("hyperdrift", list(words))
    command: Any = context.command
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    return context.command_path


def test_each_command_of_hyperdrift_is_one_with_options_that_it_has() -> None:
    found = ours("hyperdrift")
    for command in found:
        try:
            read_by_the_command_line(list(command.words))
        except Exception as e:  # noqa: BLE001 - typer's own kinds of usage errors
            pytest.fail(f"{command.place}: hyperdrift {' '.join(command.words)}: {e}")
    assert len(found) > 40


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    for words in (["statsu"], ["status", "--colour"], ["bars", "gap", "--coin", "BTC"]):
        with pytest.raises(Exception, match="No such"):
            read_by_the_command_line(words)


def test_each_command_in_the_running_text_exists_with_the_options_that_it_names() -> None:
    root: Any = typer.main.get_command(app)
    wrong = []
    for page, code in inline_code():
        words = code.split()
        if words[:1] != ["hyperdrift"] or len(words) < 2 or code.startswith(NOT_YET):
            continue
        command, rest = root, words[1:]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        options = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        known = {"--help"} | {name for each in command.params for name in each.opts}
        known |= {name for each in command.params for name in each.secondary_opts}
        if (command is root and re.match(r"[a-z]", words[1])) or options - known:
            wrong.append(f"{page}: {code}")
    assert wrong == []


def test_each_target_of_make_and_each_module_and_file_of_python_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in ours("make"):
        names = [word for word in command.words if "=" not in word]
        names = names[2:] if names[:1] == ["-C"] else names
        assert [name for name in names if f"\n{name}:" not in makefile] == [], command.place
    for command in ours("python"):
        if command.words[:1] == ("-m",) and command.words[1] != "venv":
            module = ROOT.joinpath(*command.words[1].split("."))
            files = [module.with_suffix(".py"), *module.rglob("*.py")]
            text = "".join(path.read_text("utf-8") for path in files if path.exists())
            options = [
                re.sub("^--no-", "--", word) for word in command.words[2:] if word.startswith("--")
            ]
            assert text, command.place
            assert [name for name in options if f'"{name}"' not in text] == [], command.place


def test_what_pip_is_asked_for_is_in_the_checkout_with_these_extras() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text("utf-8"))["project"]
    for command in ours("pip"):
        for word in command.words[1:]:
            extras = re.match(r"\./client\[(.+)\]$", word)
            if extras:
                known = set(project["optional-dependencies"])
                assert set(extras[1].split(",")) <= known, command.place
            elif word.startswith(("./", "requirements")):
                assert (ROOT / word).exists(), command.place


@of("toml")
def test_a_block_of_configuration_is_read_by_what_reads_it(block: Block, tmp_path: Path) -> None:
    code = block.code.replace('"/opt/mybot"', f'"{tmp_path}"')  # the only folder that must be there
    (tmp_path / "hyperdrift.toml").write_text(code)
    if "faults" in tomllib.loads(block.code):
        assert read_script(tmp_path / "hyperdrift.toml")
    else:
        config = loader.load(tmp_path / "hyperdrift.toml", {})
        assert config.slots or config.entries  # the venue says what `coin = "*"` is


@of("json", "yaml")
def test_a_block_of_json_is_json_and_one_of_yaml_is_yaml(block: Block) -> None:
    text = block.code.strip()
    if block.language == "yaml":
        assert [part for part in yaml.safe_load_all(text) if part]
        return
    assert json.loads(text if text[0] in "{[" else f"{{{text}}}")


@of("csv")
def test_a_list_of_cohorts_is_read_as_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "cohorts.csv").write_text(block.code)
    cohorts = read_cohorts(tmp_path / "cohorts.csv")
    assert len(cohorts.top | cohorts.bottom) == len(list(csv.DictReader(block.code.splitlines())))


@of("ini")
def test_a_block_of_a_unit_is_taken_by_systemd(block: Block, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    whole = block.code if "ExecStart=" in block.code else f"{block.code}ExecStart=/bin/true\n"
    unit = tmp_path / "block.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", whole))
    done = quietly("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (
        0,
        [],
    )


@of("nginx")
def test_a_block_of_nginx_is_taken_by_nginx(block: Block, tmp_path: Path) -> None:
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed")
    code = block.code
    if code.startswith("location"):
        code = f"server {{ listen 8080;\n{code}}}"
    if "http {" not in code:
        code = f"events {{}}\nhttp {{ access_log off;\n{code}}}"
    if "ssl_certificate" in code:
        subprocess.run(CERTIFICATE.split(), cwd=tmp_path, check=True, capture_output=True)
        code = re.sub(r"(ssl_certificate) [^;]+;", rf"\1 {tmp_path}/crt;", code)
        code = re.sub(r"(ssl_certificate_key) [^;]+;", rf"\1 {tmp_path}/key;", code)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; error_log stderr;\n{code}")
    done = quietly("/usr/sbin/nginx", "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf")
    assert done.returncode == 0, done.stderr


@of("ts")
def test_a_block_of_typescript_names_what_the_bot_has(block: Block) -> None:
    bot = (ROOT / "examples" / "node" / "bot.ts").read_text("utf-8")
    options = re.findall(r"[{,] (\w+): \"", block.code)
    assert len(options) > 2
    assert [name for name in options if not re.search(rf"\b{name}\??: ", bot)] == []
    methods = set(re.findall(r"slot\.(\w+)\(", block.code))
    assert methods
    assert [
        name for name in methods if not re.search(rf"^  (?:async )?{name}\(", bot, re.MULTILINE)
    ] == []
