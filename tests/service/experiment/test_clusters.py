"""The recipes of docs/scaling.md, on clusters that are really there: Dask, Dask over SSH, and Ray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipyllm import Experiment, executors
from tests.fakes import answer

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(600)]

N = 60
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def key(monkeypatch):
    """Set the key in the environment: workers have that of the time when they start."""
    return lambda value: monkeypatch.setenv("OPENAI_API_KEY", value)


@pytest.fixture
def run(model, server, key):
    """Run an experiment of N prompts by an executor, with another key here than its workers have; check what came."""

    def run_by(executor, kernel_key="key-of-the-kernel"):
        key(kernel_key)
        server.on(lambda request: answer(request.prompt, ttft=0.05))
        experiment = Experiment([f"word {n}" for n in range(N)], models=model(), name="clustered", concurrency=4)
        results = experiment.run(executor, progress=False, chunk_size=5)
        assert results.state == f"{N} of {N} calls have an answer."
        assert sorted({request.prompt for request in server.requests}) == sorted(results.calls["prompt"].unique())
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer key-of-the-workers"}
        workers = {tags["worker"] for tags in results.calls["tags"]}
        assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)
        return results, workers

    return run_by


@pytest.fixture
def distributed():
    return pytest.importorskip("distributed", reason="Dask needs ipyllm[dask]")


@contextmanager
def local_cluster(distributed, folder, n_workers):
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield cluster, client


def test_a_local_cluster_of_dask(run, key, distributed, tmp_path):
    key("key-of-the-workers")
    with local_cluster(distributed, tmp_path, n_workers=2) as (_, client):
        results, workers = run(client.get_executor())
    assert len(workers) == 2
    assert set(results.calls["executor"]) == {"2 × ClientExecutor"}


def test_an_adaptive_cluster_of_dask_that_begins_without_workers(run, key, distributed, tmp_path):
    key("key-of-the-workers")
    with local_cluster(distributed, tmp_path, n_workers=0) as (cluster, client):
        cluster.adapt(minimum=0, maximum=2)
        _, workers = run(client.get_executor(), kernel_key="key-of-the-workers")  # they start from here, during the run
    assert 1 <= len(workers) <= 2


@pytest.fixture
def ssh_host(tmp_path, server):
    """Start an SSH server on loopback whose sessions have settings of their own; return how to connect to it."""
    if SSHD is None:
        pytest.skip("no SSH server here: Debian's package openssh-server has it")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "OPENAI_API_KEY": "key-of-the-workers",
        "IPYLLM_LEDGER": tmp_path / "elsewhere.sqlite",
        "IPYLLM_CONFIG": tmp_path / "elsewhere.toml",
    }
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path / 'user.pub'}\nPasswordAuthentication no\nUsePAM no\n"
        f"SetEnv {' '.join(f'{name}={value}' for name, value in settings.items())}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd refuses to start as root without it
    with (tmp_path / "log").open("w") as log:
        daemon = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log, start_new_session=True
        )
    server.wait_for(lambda: daemon.poll() is None and _listens(port), timeout=60)
    yield {"port": port, "known_hosts": None, "client_keys": [str(tmp_path / "user")]}
    daemon.terminate()
    daemon.wait()


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_cluster_of_dask_over_ssh_with_a_ledger_of_its_own(run, distributed, ssh_host, tmp_path):
    pytest.importorskip("asyncssh", reason="dask.distributed.SSHCluster needs asyncssh")
    with (
        distributed.SSHCluster(
            ["127.0.0.1"] * 3,  # the scheduler, and two workers
            connect_options=ssh_host,
            remote_python=sys.executable,
            scheduler_options={"host": "127.0.0.1", "port": 0, "dashboard": False},
            worker_options={"nthreads": 1, "host": "127.0.0.1", "local_directory": str(tmp_path)},
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=200)
        results, workers = run(client.get_executor())
    assert len(workers) == 2
    assert results.costs.loc["total", "n"] == N + 1  # the rows came home, and that of the warm-up
    assert (tmp_path / "elsewhere.sqlite").exists()


def test_tasks_of_ray(run, key, monkeypatch):
    ray = pytest.importorskip("ray", reason="pip install ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    key("key-of-the-workers")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # short, for its sockets
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder)
        try:
            results, workers = run(executors.ray())
        finally:
            ray.shutdown()
    assert 1 <= len(workers) <= 2
    assert set(results.calls["executor"]) == {"2 × RayExecutor"}
