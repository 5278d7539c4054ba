"""`retrain.backend` is read once; what cannot be used is one line that says what to write."""

from pathlib import Path
from typing import Any

import pytest

from daemon.config.backend import Backend, own_workers, read_backend
from daemon.config.limits import shared_limits
from daemon.config.schema import Config, RetrainSection
from daemon.core import extras
from daemon.fleet.opening import make_jobs
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError

TLS: dict[str, Any] = {"dask_ca_file": "/ca", "dask_cert_file": "/cert", "dask_key_file": "/key"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local", ""),
        ("dask", ""),
        ("dask://trainer", "tcp://trainer:8786"),
        ("dask://10.0.0.2:9000", "tcp://10.0.0.2:9000"),
        ("dask://[fd00::2]:8786/", "tcp://[fd00::2]:8786"),
    ],
)
def test_a_backend_is_read(text: str, address: str) -> None:
    found = read_backend(RetrainSection(backend=text))
    assert (found.name, found.address, found.tls) == (text, address, ())
    assert found.is_local is (text == "local")


@pytest.mark.parametrize(
    ("memory_mib", "workers"), [(4096, 6), (8192, 8), (0, 8), (700, 1), (300, 1)]
)
def test_this_host_has_a_worker_for_each_core_that_has_memory_for_a_retrain(
    memory_mib: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert own_workers(memory_mib) == workers
    section = RetrainSection(backend="dask", memory_mib=memory_mib)
    assert shared_limits(section).memory_mib == memory_mib // workers
    jobs = make_jobs(Config(retrain=section), Path("jobs"), SystemClock())
    assert jobs._limits.memory_mib == memory_mib // workers


def test_a_secure_cluster_takes_the_files_of_tls() -> None:
    found = read_backend(RetrainSection(backend="dasks://trainer", **TLS))
    assert found == Backend("dasks://trainer", "tls://trainer:8786", ("/ca", "/cert", "/key"))


def test_the_files_of_tls_may_lie_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    files: dict[str, Any] = {key: f"~{path}" for key, path in TLS.items()}
    found = read_backend(RetrainSection(backend="dasks://trainer", **files))
    assert found.tls == ("/home/me/ca", "/home/me/cert", "/home/me/key")


@pytest.mark.parametrize(
    "text",
    ["", "Dask", "tcp://trainer:8786", "dask://", "dask://a:b", "dask://me@a", "dask://a/x"],
)
def test_another_backend_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match='write "local", "dask", "dask://host:8786" or') as e:
        read_backend(RetrainSection(backend=text))
    assert "\n" not in str(e.value)


def test_a_secure_cluster_without_its_files_is_refused() -> None:
    with pytest.raises(ConfigError, match="write dask_ca_file, dask_cert_file and dask_key_file"):
        read_backend(RetrainSection(backend="dasks://trainer", dask_ca_file="/ca"))


def test_files_of_tls_beside_a_cluster_without_tls_are_refused() -> None:
    section = RetrainSection(backend="dask://trainer", **TLS)
    with pytest.raises(ConfigError, match=r"would not be encrypted, .* write dasks:"):
        read_backend(section)
    assert read_backend(section, "dask://other").tls == ()  # a command says what it wants
    assert read_backend(RetrainSection(backend="local", **TLS)).is_local


def test_a_file_of_tls_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    config = Config(retrain=RetrainSection(backend="dasks://trainer", **TLS))
    with pytest.raises(ConfigError, match=r"needs /ca, which cannot be read; correct its path"):
        make_jobs(config, tmp_path, SystemClock())


def test_a_cluster_without_the_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert read_backend(RetrainSection()).is_local
    with pytest.raises(ConfigError, match=r"pip install 'hyperdrift\[fleet\]'"):
        read_backend(RetrainSection(backend="dask"))


def test_a_command_names_another_backend() -> None:
    assert read_backend(RetrainSection(backend="dask://trainer"), "local").is_local
