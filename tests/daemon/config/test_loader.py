"""A configuration is read once, and what is wrong with it is said in one sentence."""

import os
from pathlib import Path

import pytest

from daemon.config import loader as config
from daemon.config.environment import misspelt
from daemon.config.limits import fetched_ms
from daemon.config.schema import Config, MqttSection, SlotSection
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from tests.daemon.powerless import without_roots_power

# Every key that is documented, each with its documented default.
WHOLE = """
[daemon]
data_dir = "/var/lib/hyperdrift"
[[slots]]
coin = "BTC"
interval = "5m"
horizon_bars = 12
threshold = 0.005
history_days = 180
[hyperliquid]
network = "mainnet"
speed = 1.0
weight_per_minute = 1000
[mqtt]
broker = "embedded"
prefix = "hyperdrift"
[features]
computer = "builtin"
cohort_file = ""
[trades]
file = ""
[retrain]
python = ""
nice = 10
timeout_s = 3600
backend = "local"
[policy]
[gates]
[swap]
on_deploy = []
[web]
listen = "127.0.0.1:8377"
[notify]
urls = []
"""


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "hyperdrift.toml"
    path.write_text(text)
    return config.load(path, environ)


def test_every_documented_key_is_understood(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE).data_dir == Path("/var/lib/hyperdrift")


def test_without_a_file_it_watches_btc_5m_on_mainnet_with_the_embedded_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "SEARCH_PATHS", (Path("hyperdrift.toml"),))
    found = config.load(None, {})
    assert [slot.name for slot in found.slots] == [SlotName("BTC", "5m")]
    assert found.hyperliquid.urls[0] == "https://api.hyperliquid.xyz"
    assert found.mqtt.broker == "embedded"


def test_switches_of_the_policy_are_true_or_false(tmp_path: Path) -> None:
    assert read(tmp_path, "[policy]\non_drift = false\n").policy == {"on_drift": False}


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff[retrain]\nnice = 3\n").retrain.nice == 3


def test_24h_is_the_venues_1d(tmp_path: Path) -> None:
    found = read(tmp_path, '[[slots]]\ncoin = "BTC"\ninterval = "24h"\n')
    (slot,) = found.slots
    assert str(slot.name) == "BTC-1d"
    assert (slot.horizon, slot.label_threshold) == (1, "default:0.025")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        WHOLE,
        HYPERDRIFT_MQTT__BROKER="mqtt://10.0.0.1:1883",
        HYPERDRIFT_RETRAIN__NICE="19",
        HYPERDRIFT_DATA="not a setting",
    )
    assert (found.mqtt.broker, found.retrain.nice) == ("mqtt://10.0.0.1:1883", 19)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[mqtt]\nbrokr = "embedded"', "[mqtt] 'brokr' is not a setting; did you mean 'broker'?"),
        ("[colour]\nx = 1", "'colour' is not a setting; the settings here are costs, daemon"),
        ('[[slots]]\ncoin = "BTC"\nhorizon = 3', "did you mean 'horizon_bars'?"),
        (
            '[[slots]]\ncoin = "BTC"\nhorizon_bars = "x"',
            "[[slots]] number 1: horizon_bars is 'x'; write a whole number",
        ),
        ('[[slots]]\ninterval = "5m"', '[[slots]] has no coin; write one, like coin = "BTC"'),
        ('[slots]\ncoin = "BTC"', "write [[slots]], in two brackets"),
        ('[[slots]]\ncoin = "BTC"\ninterval = "7m"', "interval '7m' is not one of 1m"),
        ('[[slots]]\ncoin = "BTC"\ninterval = "15m"', "write horizon_bars and threshold"),
        ('[[slots]]\ncoin = "BTC"\nthreshold = 5.0', "like 0.005 for 0.5 %"),
        ('[[slots]]\ncoin = "BTC"\nthreshold = "wide"', '"auto" or "vol:0.8"'),
        ('[[slots]]\ncoin = "BTC"\n[[slots]]\ncoin = "BTC"', "remove one"),
        ('[[slots]]\ncoin = "BTC#USD"', "is not written COIN-INTERVAL"),
        ('[[slots]]\ncoin = "PURR/USDC"', "is a spot market, and spot is not followed; write"),
        ("slots = []", "there is no [[slots]]"),
        ('[costs]\nentry = "limit"', """costs.entry is 'limit'; write "maker" or "taker\""""),
        ("[costs]\ntaker_bps = nan", "costs.taker_bps is nan; write a number"),
        ("[costs]\ntaker = 4.5", "[costs] 'taker' is not a setting; did you mean 'taker_bps'?"),
        (
            '[[slots]]\ncoin = "BTC"\ncosts = { taker_bps = -1.0 }',
            "[[slots]] BTC-5m: costs.taker_bps is -1.0; write a number of at least 0",
        ),
        ('[[slots]]\ncoin = "BTC"\n[slots.costs]\nfee_bps = 1', "[costs] 'fee_bps' is not a"),
        ('[[slots]]\ncoin = "BTC"\n[slots.costs]\nexit = "x"', "costs.exit is 'x'; write \"maker"),
        ('[hyperliquid]\nnetwork = "moonnet"', "write mainnet or testnet"),
        ("[retrain]\nnice = 40", "retrain.nice is 40; write a whole number of at most 19"),
        ("[retrain]\nparallel = 0", "retrain.parallel is 0; write a whole number of at least 1"),
        (
            "[retrain]\nparallel = 8",
            "leaves 512 MiB for each of retrain.parallel = 8, and a retrain needs 640; write at",
        ),
        ('[retrain]\nmemory_mib = "4G"', "retrain.memory_mib is '4G'; write a whole number"),
        ('[swap]\non_deploy = "x"', """swap.on_deploy is 'x'; write a list, like ["a", "b"]"""),
        ('[gates]\noverfit = 0.2\ncalibrated = "x"', "[gates] calibrated = 'x'; write a number"),
        ("[gates]\noverfit = true", "[gates] overfit = true; write a number"),
        ('[gates]\nearns = "yes"', """[gates] earns = 'yes'; write "tell" or "refuse\""""),
        ("[retrain]\nsignal_rate = 0.05", "did you mean 'min_signal_rate'?"),
        ("[gates]\nover_fit = 0.2", "[gates] 'over_fit' is not a setting; did you mean 'overfit'?"),
        ('[policy]\non_drift = "no"', "[policy] on_drift = 'no'; write true or false"),
        ('[policy]\ncooldown_hours = ["3"]', "[policy] cooldown_hours = ['3']; write a number of"),
        ("[policy]\nparallel = 2", "[policy] 'parallel' is not a setting; it belongs to [retrain]"),
        (
            "[retrain]\ncooldown_hours = 2",
            "'cooldown_hours' is not a setting; it belongs to [policy]",
        ),
        ('broker = "embedded"', "'broker' is not a setting; it belongs to [mqtt]"),
        ('[daemon]\ncert_file = "c"', "is not a setting; it belongs to [mqtt] or [web]"),
        ('[mqtt]\nport = "1883"', "mqtt.port is '1883'; write a whole number, without quotes"),
        ('[notify]\nurls = "tgram://TOKEN/1"', "notify.urls is text; write a list, like"),
        (
            "[hyperliquid]\nweight_per_minute = 5000",
            "is 5000; write at most 1200, all that the venue",
        ),
        (
            "[daemon]\ndata_dir = /var/lib",
            "Invalid value (at line 2, column 12); write text in quotes",
        ),
        ("[policy]\non_drift = True", "write text in quotes, and true and false in small letters"),
        ("[web]\n[web]", "; write each section once, with all of its keys below it"),
        ("[web]\nproxy: true", "; write key = value"),
        ('[web]\nnames = ["a", "b"', "; close the list with ]"),
        ('[retrain]\npython = "C:\\py"', "; write text with a \\ in single quotes"),
        ('[retrain]\npython = "/usr/bin', "; close the quotes on the line where they begin"),
        ("[retrain]\ntimeout_s = 60 s", "; write one key = value a line, with text in quotes"),
        ("[policy]\ncooldown_hours = true", "cooldown_hours = true; write a number of at least 0"),
        ("[policy]\ncooldown = 3", "[policy] 'cooldown' is not a setting; did you mean"),
        ('[daemon]\ndata_dir = "data"', "daemon.data_dir is 'data'; write a whole path"),
        ('[hyperliquid]\nrest_url = "api.x"', "hyperliquid.rest_url is 'api.x'; write https://"),
        (
            '[hyperliquid]\nrest_url = "http://127.0.0.1:99999"',
            "hyperliquid.rest_url is 'http://127.0.0.1:99999': its port must be a number from 1",
        ),
        (
            '[hyperliquid]\nws_url = "wss://api..x/ws"',
            "hyperliquid.ws_url is 'wss://api..x/ws': no host can be called 'api..x'",
        ),
        ('[hyperliquid]\nws_url = "wss:///ws"', "it names no host; write wss://host"),
        ('[hyperliquid]\nws_url = "wss://a.b/ws"', "ws_url is given without rest_url; write both"),
        ('[hyperliquid]\nrest_url = "http://[::1"', "hyperliquid.rest_url is 'http://[::1'"),
        ('[mqtt]\nbroker = "mqtt://broker..lan:1883"', "no host can be called 'broker..lan'"),
        ('[web]\nlisten = "127.0.0.1"', "web.listen is '127.0.0.1': it has no port; write 127."),
        ('[web]\nlisten = "0.0.0.0:8377"', "others could read along there; write web.cert_file"),
        ('[web]\nlisten = "bots.example.org:80"', "others could read along there"),
        ('[web]\nlisten = "a@127.0.0.1:80"', "it is more than host and port"),
        ('[web]\nlisten = "127.0.0.1:80/x"', "web.listen"),
        ('[web]\nkey_file = "/k"', "web.key_file is of no use without web.cert_file"),
        ('[web]\nnames = ["http://x"]', "web.names has 'http://x'; write the names of hosts"),
        ('[web]\nlisten = ":8377"', "web.listen is ':8377': it names no host; write 127.0.0.1"),
        ('[web]\nlisten = "300.0.0.1:80"', "'300.0.0.1' is no IP address; write 127.0.0.1:8377"),
        ('[web]\nlisten = "localhost:0"', "its port must be a number from 1 to 65535"),
        ('[mqtt]\nprefix = "a/#"', "mqtt.prefix is 'a/#'; write a name without"),
        (
            '[mqtt]\nbroker = "10.0.0.1"',
            "must be embedded, mqtt://user@host:1883 or mqtts://host",
        ),
        ('[mqtt]\nbroker = "mqtt://me:secret@h"', "give the password in a file"),
        ('[mqtt]\nca_file = "ca.crt"', "is of no use with the embedded broker; remove the key"),
        ('[mqtt]\nbroker = "mqtt://h"\nca_file = "ca.crt"', "write mqtts://"),
        ('[notify]\nquiet_hours = "22-7"', "write two times of the day"),
        ('[notify]\ntimezone = "Mars"', "write a name like"),
        ('[notify]\ndigest = "8"', "write a day and a time"),
        ("[mqtt\n", "is not TOML"),
        ("a = " + "[" * 10_000, "is not TOML"),
        ("a = " + "9" * 10_000, "is not TOML"),
    ],
)
def test_a_mistake_is_one_sentence_that_says_what_to_write(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hyperdrift.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("HYPERDRIFT_MQTT__PORT", "abc", ": mqtt.port is 'abc'; write a whole number"),
        ("HYPERDRIFT_POLICY__ON_DRIFT", "no", ": [policy] on_drift = 'no'; write true or false"),
        ("HYPERDRIFT_RETRAIN__PARALEL", "2", ": [retrain] 'paralel' is not a setting; did you"),
        ("HYPERDRIFT_RETRAN__NICE", "2", ": 'retran' is not a setting; did you mean 'retrain'?"),
        ("HYPERDRIFT_RETRAIN__BACKEND", "dusk://x", ": retrain.backend is 'dusk://x'; write"),
        ("HYPERDRIFT_SLOTS__COIN", "ETH", ": [[slots]] is a list; set it in the file"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(Path("/dev/null"), {"HYPERDRIFT_MQTT__PREFIX": "p", name: text})
    assert str(caught.value).startswith(f"{name}{sentence}")


def test_a_variable_with_one_underscore_for_two_is_told() -> None:
    right = ("HYPERDRIFT_DATA", "HYPERDRIFT_MQTT__PORT")
    wrong = ("HYPERDRIFT_MQTT_BROKER", "HYPERDRIFT_POLICY_MIN_BARS")
    broker, bars = misspelt(dict.fromkeys((*right, *wrong), "1"))
    assert broker == (
        "the variable HYPERDRIFT_MQTT_BROKER is not used; write HYPERDRIFT_MQTT__BROKER, with two "
        "underscores"
    )
    assert "; write HYPERDRIFT_POLICY__MIN_BARS, with two underscores" in bars


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        config.load(tmp_path / "missing.toml", {})


def test_a_password_comes_from_its_file_or_from_the_service_managers_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt-password").write_text("from systemd\n")
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert config.broker_password(MqttSection()) == "from systemd"
    given = MqttSection(password_file=str(tmp_path / "secret"))
    assert config.broker_password(given) == "from a file"


def test_a_command_of_root_finds_the_password_that_the_service_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(config, "CREDSTORE", tmp_path / "mqtt-password")
    secured = MqttSection(broker="mqtts://hyperdrift@broker.example")
    assert config.broker_password(secured) is None
    (tmp_path / "mqtt-password").write_text("for the service\n")
    assert config.broker_password(secured) == "for the service"
    assert config.broker_password(MqttSection()) is None  # the embedded one has no passwords


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('computer = "my features"', 'write "builtin" or "package.module:Class"'),
        ('computer = "bot.features:Computer"\npath = "/no/such/folder"', "is not a folder"),
        ('learn_cohorts = true\ncohort_file = "c.csv"', "exclude each other; remove one"),
    ],
)
def test_a_feature_class_that_cannot_be_named_or_found_is_refused(
    tmp_path: Path, section: str, says: str
) -> None:
    file = tmp_path / "hyperdrift.toml"
    file.write_text(f"[features]\n{section}\n")
    with pytest.raises(ConfigError, match=says):
        config.load(file, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_configuration_of_others_is_an_error_and_not_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir(mode=0o700)
    (tmp_path / "etc" / "hyperdrift.toml").write_text("")
    monkeypatch.setattr(config, "SEARCH_PATHS", (tmp_path / "etc" / "hyperdrift.toml",))
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"Permission denied.*; run this with sudo"):
            config.load(None, {})
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_in_a_folder_that_this_user_may_not_enter_the_file_of_the_service_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    home, etc = tmp_path / "home", tmp_path / "hyperdrift.toml"
    home.mkdir(mode=0o700)  # as of who wrote `sudo -u hyperdrift hyperdrift ...` there
    etc.write_text("[retrain]\nnice = 3\n")
    monkeypatch.chdir(home)
    monkeypatch.setattr(config, "SEARCH_PATHS", (Path("hyperdrift.toml"), etc))
    os.seteuid(65534)
    try:
        assert config.load(None, {}).retrain.nice == 3
    finally:
        os.seteuid(0)


def test_files_of_the_broker_may_lie_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "password").write_text("secret\n")
    text = '[mqtt]\nbroker = "mqtts://me@host"\nca_file = "~/ca.crt"\npassword_file = "~/password"'
    mqtt = read(tmp_path, text).mqtt
    assert config.broker_address(mqtt).ca_file == tmp_path / "ca.crt"
    assert config.broker_password(mqtt) == "secret"


def test_a_file_that_may_not_be_read_is_one_line_also_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hyperdrift.toml"
    path.touch(mode=0)
    code = (
        f"import sys; from daemon import cli; sys.argv = ['', 'doctor', '--config', {str(path)!r}]"
    )
    said = without_roots_power(f"{code}; cli.main()")
    assert said.startswith(f"hyperdrift: {path}: cannot be read (Permission denied); run this with")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("interval", "days"), [("5m", 180), ("1h", 5000 / 24), ("12h", 2500), ("24h", 5000)]
)
def test_slots_of_long_bars_learn_from_as_many_bars_as_the_venue_serves(
    interval: str, days: float
) -> None:
    assert SlotSection(coin="BTC", interval=interval).history_ms == round(days * 86_400_000)
    assert SlotSection(coin="BTC", interval=interval, history_days=2).history_ms == 172_800_000


def test_as_many_bars_are_fetched_as_a_first_model_waits_for(tmp_path: Path) -> None:
    slots = '[[slots]]\ncoin = "BTC"\ninterval = ["5m", "1h"]\nhistory_days = 120\n'
    found = read(tmp_path, slots)
    days = [fetched_ms(found, slot) / 86_400_000 for slot in found.slots]
    assert days == [120, 5000 / 24], "120 days of 1h are 2880 bars, and the first model needs 5000"
    less = read(tmp_path, f"{slots}[policy]\nmin_bars = 1000\n")
    assert [fetched_ms(less, slot) for slot in less.slots] == [120 * 86_400_000] * 2


@pytest.mark.parametrize("listen", ["", "127.0.0.1:8377", "localhost:80", "[::1]:8377"])
def test_an_address_of_the_status_page_may_be_a_name_or_of_either_kind(
    tmp_path: Path, listen: str
) -> None:
    assert read(tmp_path, f'[web]\nlisten = "{listen}"').web.listen == listen


def test_a_variable_that_is_not_utf8_or_deep_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="is not UTF-8"):
        config.load(Path("/dev/null"), {"HYPERDRIFT_MQTT__PREFIX": "\udcff"})
    with pytest.raises(ConfigError, match="is not UTF-8"):
        config.load(Path("/dev/null"), {"HYPERDRIFT_MQTT__\udc80": "1"})
    with pytest.raises(ConfigError) as caught:
        config.load(Path("/dev/null"), {"HYPERDRIFT_RETRAIN__NICE": "[" * 10_000})
    assert len(str(caught.value)) < 400
