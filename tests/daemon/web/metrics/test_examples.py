"""The board, the alert rules and the scrape that the package brings, held against the catalogue."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from daemon.web.metrics.catalogue import BY_NAME

PACKAGING = Path(__file__).parents[4] / "packaging"
RULES = PACKAGING / "prometheus" / "hyperdrift.rules.yml"
SCRAPE = PACKAGING / "prometheus" / "hyperdrift.scrape.yml"
BOARD = PACKAGING / "grafana" / "hyperdrift.json"
METRIC = re.compile(r"\b(?:hyperdrift|process)_[a-z0-9_]+\b")
PROCESS = {
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}


class Case(NamedTuple):
    """An alert, the series that raise it and those that do not, and when to look."""

    alert: str
    bad: dict[str, str]
    good: dict[str, str]
    at: str = "20m"


def slot(name: str, **labels: str) -> str:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'hyperdrift_{name}{{instance="h",job="hyperdrift",slot="BTC-5m"{more}}}'


def whole(name: str, **labels: str) -> str:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'{name}{{instance="h",job="hyperdrift"{more}}}'


UP, READY, BROKER = whole("up"), whole("hyperdrift_ready"), whole("hyperdrift_broker_connected")
VENUE, START = whole("hyperdrift_venue_connected"), whole("process_start_time_seconds")
WRITES, FREE = whole("hyperdrift_store_writable"), whole("hyperdrift_disk_free_bytes")
SIZE, LOOP = whole("hyperdrift_disk_size_bytes"), "hyperdrift_event_loop_delay_seconds_bucket"
THROTTLED, UPTIME = whole("hyperdrift_venue_throttled_total"), whole("hyperdrift_uptime_seconds")
GIVEN_UP, FAILED, SENT = (
    whole(f"hyperdrift_notifications_{name}_total") for name in ("given_up", "failed", "sent")
)
NO_MODEL = slot("phase", hyperdrift_phase="collecting")
FAILS, EARNS = slot("retrains_total", result="failed"), slot("earning_high_ratio", source="signals")
ALWAYS, NEVER = "1+0x3000", "0+0x3000"
CASES = (
    Case("HyperdriftDown", {UP: NEVER}, {UP: ALWAYS}),
    Case("HyperdriftNotReady", {READY: NEVER}, {READY: "0x20 1x100"}, "60m"),
    Case("HyperdriftRestartsAgainAndAgain", {START: "0+600x100"}, {START: "0x50 5x50"}, "60m"),
    Case(
        "HyperdriftNoBars", {slot("lag_seconds"): "0+60x60"}, {slot("lag_seconds"): "8x60"}, "50m"
    ),
    Case("HyperdriftVenueLost", {VENUE: NEVER}, {VENUE: "1x5 0x5 1x50"}),
    Case("HyperdriftThrottled", {THROTTLED: "0+1x200"}, {THROTTLED: "0x30 5x100"}, "100m"),
    Case(
        "HyperdriftBarsLost",
        {slot("bars_gaps_total"): "0x10 3x50"},
        {slot("bars_gaps_total"): "3x60"},
    ),
    Case("HyperdriftBrokerLost", {BROKER: NEVER}, {BROKER: "1x5 0x5 1x50"}),
    Case("HyperdriftBotSilent", {slot("bots_silent"): ALWAYS}, {slot("bots_silent"): NEVER}),
    Case(
        "HyperdriftFeaturesDiffer",
        {slot("feature_mismatch"): ALWAYS},
        {slot("feature_mismatch"): NEVER},
    ),
    Case("HyperdriftSlotTrouble", {slot("slot_trouble"): ALWAYS}, {slot("slot_trouble"): NEVER}),
    Case(
        "HyperdriftModelOld",
        {slot("model_age_seconds"): "2600000x200"},
        {slot("model_age_seconds"): "2500000x200"},
        "90m",
    ),
    Case(
        "HyperdriftNoModel",
        {NO_MODEL: ALWAYS, UPTIME: "90000x200"},
        {NO_MODEL: ALWAYS, UPTIME: "80000x200"},
        "90m",
    ),
    Case("HyperdriftEarnsNothing", {EARNS: "-0.001x200"}, {EARNS: "0.001x200"}, "90m"),
    Case(
        "HyperdriftDrift",
        {
            slot("drift_evidence", feature="mom_1"): "1.2x600",
            slot("drift_evidence", feature="x"): NEVER,
        },
        {slot("drift_evidence", feature="mom_1"): "1.2x100 0x500"},
        "9h",
    ),
    Case(
        "HyperdriftRetrainWaits",
        {slot("retrain_place"): "12x30 3x60"},
        {slot("retrain_place"): "12x30 0 9x30 0x40"},
        "80m",
    ),
    Case("HyperdriftRetrainsFail", {FAILS: "0x10 1x10 2x50"}, {FAILS: "0x10 1x50"}, "40m"),
    Case(
        "HyperdriftRolledBack",
        {slot("rollbacks_total"): "0x10 1x50"},
        {slot("rollbacks_total"): "1x60"},
    ),
    Case("HyperdriftCannotWrite", {WRITES: NEVER}, {WRITES: ALWAYS}),
    Case(
        "HyperdriftMessagesLost",
        {GIVEN_UP: NEVER, FAILED: "0x10 6x50", SENT: NEVER},
        {GIVEN_UP: NEVER, FAILED: "0x10 6x50", SENT: "0x10 1x50"},
        "40m",
    ),
    Case(
        "HyperdriftDiskSoonFull",
        {FREE: "5e8x60", SIZE: "1e11x60"},
        {FREE: "5e10x60", SIZE: "1e11x60"},
        "30m",
    ),
    Case(
        "HyperdriftLoopHeld",
        {whole(LOOP, le="+Inf"): "0+120x60", whole(LOOP, le="1.0"): "0+110x60"},
        {whole(LOOP, le="+Inf"): "0+120x60", whole(LOOP, le="1.0"): "0+120x60"},
        "50m",
    ),
)


async def promtool(*arguments: str | Path) -> str:
    """Return what promtool says of something that it finds to be right."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = await asyncio.to_thread(
        subprocess.run, [tool, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries(node: Any) -> Iterator[str]:
    """Yield every query of the board, those of its variables too."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("expr", "definition") if key in node)
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from queries(each)


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return found


def unknown(text: str) -> set[str]:
    """Return the metrics of a text that no scrape shows."""
    histograms = {name for name, entry in BY_NAME.items() if entry.kind == "histogram"}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    labels = {"hyperdrift_phase"}
    return set(METRIC.findall(text)) - BY_NAME.keys() - parts - PROCESS - labels


def test_board_and_rules_ask_for_nothing_that_no_scrape_shows() -> None:
    asked = list(queries(board()))
    assert len(asked) > 40
    assert unknown("\n".join(asked)) == set()
    assert unknown("\n".join(re.findall(r"expr: (.*)", RULES.read_text("utf-8")))) == set()


def test_every_metric_of_the_state_stands_on_the_board_or_in_a_rule() -> None:
    text = BOARD.read_text("utf-8") + RULES.read_text("utf-8")
    # What is of use where somebody looks for a cause, and no picture for every day.
    rare = {f"hyperdrift_{n}" for n in ("earning_returns", "model_info", "events_total")}
    rare |= {"hyperdrift_last_bar_timestamp_seconds", "hyperdrift_retrain_running"}
    rare |= {f"hyperdrift_venue_{n}" for n in ("oddities_total", "clock_jumps_total")}
    assert {n for n in BY_NAME if not re.search(rf"\b{n}(_bucket)?\b", text)} <= rare


def test_the_board_takes_its_data_source_from_a_variable_and_no_panel_covers_another() -> None:
    found = board()
    assert found["schemaVersion"] >= 36
    assert found["id"] is None
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {"instance", "slot"} <= variables.keys()
    ids, taken = set[int](), set[tuple[int, int]]()
    for panel in found["panels"]:
        ids.add(panel["id"])
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
    assert len(ids) == len(found["panels"])
    assert max(x for x, _ in taken) == 23


async def test_promtool_can_read_the_rules_the_scrape_and_every_query_of_the_board(
    tmp_path: Path,
) -> None:
    await promtool("check", "rules", RULES)
    await promtool("check", "config", "--syntax-only", SCRAPE)
    asked = [q for q in queries(board()) if "label_values" not in q]
    rules = [{"record": f"q{number}", "expr": q} for number, q in enumerate(asked)]
    made = tmp_path / "board.json"
    made.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    said = await promtool("check", "rules", made)
    assert f"{len(asked)} rules found" in said


def _test_group(case: Case, *, fires: bool) -> dict[str, Any]:
    series = case.bad if fires else case.good
    query = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "name": f"{case.alert} {'fires' if fires else 'does not fire'}",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": case.at, "exp_samples": expected}],
    }


async def test_every_alert_fires_for_what_it_is_there_for_and_for_nothing_less(
    tmp_path: Path,
) -> None:
    named = set(re.findall(r"alert: (\w+)", RULES.read_text("utf-8")))
    assert named == {case.alert for case in CASES}
    groups = [_test_group(case, fires=fires) for case in CASES for fires in (True, False)]
    shutil.copy(RULES, tmp_path / "rules.yml")
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": groups}
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    await promtool("test", "rules", tmp_path / "tests.yml")


def test_every_alert_says_what_to_do() -> None:
    text = RULES.read_text("utf-8")
    alerts = text.split("- alert: ")[1:]
    for alert in alerts:
        assert re.search(r'summary: ".{20,}"', alert)
        assert re.search(r'description: ".{40,}"', alert)
        assert re.search(r"severity: (warning|critical)", alert)
