"""The image and compose.yaml on a real engine, with a Debian of ours as the base image."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipeline
from tests.agents import eventually
from tests.deploy import debian
from tests.deploy.conftest import ROOT
from tests.influxd import image
from tests.influxd.server import UnavailableError

BASE = "metrics-pipeline-test/debian:base"
IMAGE = f"metrics-pipeline:{pipeline.__version__}"
COMPOSE = ROOT / "deploy/docker/compose.yaml"
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]
HARDENED += ["--init", "--ulimit", "core=0", "--tmpfs", "/hostfs/dev/shm:ro,size=4k"]
HOST = ["--volume", "/:/hostfs:ro,rslave", "--env", "HOST_MOUNT_PREFIX=/hostfs"]
# As InfluxDB's own image is, as far as compose.yaml has to do with it.
INFLUXDB = f"""
FROM {image.LOCAL} AS server
FROM {BASE}
COPY --from=server /usr/bin/influxd /usr/local/bin/influxd
ENV INFLUXD_BOLT_PATH=/var/lib/influxdb2/influxd.bolt INFLUXD_REPORTING_DISABLED=true \\
    INFLUXD_ENGINE_PATH=/var/lib/influxdb2/engine INFLUXD_SQLITE_PATH=/var/lib/influxdb2/sqlite
RUN mkdir /var/lib/influxdb2 \\
    && echo '#!/bin/sh\\nexec "$@"' >/entrypoint.sh && chmod 755 /entrypoint.sh
"""


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """The environment for `docker`, with an engine that answers."""
    try:
        with image.engine(os.environ):
            return {**image.engine_environment(os.environ), "DOCKER_BUILDKIT": "0"}
    except UnavailableError as why:
        pytest.fail(f"{why}; .ci/run starts one", pytrace=False)


@pytest.fixture(scope="module")
def built(environ: dict[str, str]) -> str:
    """The image, built of this tree."""
    with subprocess.Popen(["tar", "-C", debian.root(), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", BASE], env=environ, stdin=tar.stdout, check=True)
    file = ROOT / "deploy/docker/Dockerfile"
    words = ["docker", "build", "--network=host", f"--build-arg=BASE={BASE}", "-f", file]
    debian.command(*words, "-t", IMAGE, ROOT, env=environ)
    return IMAGE


class Container:
    """A container of the image that reads this machine."""

    def __init__(self, environ: dict[str, str], *options: str) -> None:
        self._environ = environ
        self.name = f"metrics-test-{uuid.uuid4().hex[:8]}"
        self._docker("run", "--detach", "--name", self.name, *HARDENED, *HOST, *options, IMAGE)

    def _docker(self, *words: str) -> str:
        return debian.command("docker", *words, env=self._environ)

    def run(self, *words: str) -> str:
        """Run the agent's command in it; return its output."""
        return self.do("/opt/metrics-pipeline/bin/metrics-pipeline", *words)

    def do(self, *words: str) -> str:
        """Run a command in it; return its output."""
        return self._docker("exec", self.name, *words)

    def state(self) -> dict[str, Any]:
        """Return what the engine says of it."""
        (told,) = json.loads(self._docker("inspect", self.name))
        found: dict[str, Any] = told
        return found

    def ticks(self) -> int:
        """Return how many readings its store has."""
        return int(json.loads(self.run("status", "--json"))["ticks"])

    def remove(self) -> None:
        """Remove it."""
        self._docker("rm", "--force", self.name)


@pytest.fixture
def volume(environ: dict[str, str]) -> Iterator[str]:
    name = f"metrics-test-{uuid.uuid4().hex[:8]}"
    yield name
    debian.command("docker", "volume", "rm", "--force", name, env=environ)


@pytest.fixture
def container(built: str, environ: dict[str, str], volume: str) -> Iterator[Container]:
    one = Container(
        environ,
        *("--memory=64m", "--cpus=0.2", "--health-interval=1s", "--health-start-period=0s"),
        *("--env", "METRICS_COLLECTION_INTERVAL_MS=1000"),
        *("--volume", f"{volume}:/var/lib/metrics-pipeline"),
    )
    yield one
    one.remove()


def measured(text: str) -> set[str]:
    """The series of a reading, but for the processes."""
    points = json.loads(text)
    return {json.dumps([p["measurement"], p["tags"]], sort_keys=True) for p in points}


def test_it_reads_the_host_and_not_its_container(container: Container, tmp_path: Path) -> None:
    in_container = measured(container.run("once", "--json"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "once", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    name = Path("/etc/hostname").read_text(encoding="utf-8").strip()
    on_host = measured(done.stdout.replace(socket.gethostname(), name))
    assert {json.loads(one)[0] for one in on_host} >= {"cpu", "disk", "diskio", "mem", "net"}
    assert in_container == {one for one in on_host if not is_closed(json.loads(one)[1])}


def is_closed(tags: dict[str, str]) -> bool:
    """Tell whether the path lies in a folder that only its owner may enter."""
    parents = Path(tags.get("path", "/")).parents
    return any(not parent.stat().st_mode & 1 for parent in parents)


def test_it_is_healthy_within_what_it_is_given_and_can_change_nothing(container: Container) -> None:
    eventually(lambda: container.state()["State"]["Health"]["Status"] == "healthy", "it is healthy")
    eventually(lambda: container.ticks() > 5, "readings are taken")
    state = container.state()
    assert (state["State"]["OOMKilled"], state["RestartCount"]) == (False, 0)
    assert state["HostConfig"]["Memory"] == 64 * 2**20
    assert state["Config"]["User"] == "8687:8687"
    places = "/ /hostfs /hostfs/dev/shm /etc/metrics-pipeline /etc/metrics-pipeline/settings.toml"
    assert container.do("sh", "-c", f"for at in {places}; do test ! -w $at || echo $at; done") == ""
    assert container.do("stat", "-c", "%U %a", "/etc/metrics-pipeline") == "root 755\n"


def test_its_first_process_reaps_orphans_and_none_leaves_a_core_dump(container: Container) -> None:
    container.do("sh", "-c", "sh -c 'sleep 0.1 & exec true'")
    processes = ("sh", "-c", "cat /proc/[0-9]*/comm")
    eventually(lambda: "sleep" not in container.do(*processes), "the orphan is gone, and reaped", 5)
    limits = container.do("sh", "-c", "cat /proc/[0-9]*/limits")
    cores = {tuple(line.split()[4:6]) for line in limits.splitlines() if "core file" in line}
    assert cores == {("0", "0")}


def test_the_store_is_for_one_container_at_a_time_and_outlives_it(
    container: Container, environ: dict[str, str], volume: str
) -> None:
    eventually(lambda: container.ticks() > 1, "readings are taken")
    data = ["--volume", f"{volume}:/var/lib/metrics-pipeline"]
    second = subprocess.run(
        ["docker", "run", "--rm", *data, IMAGE],
        env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert "data directory /var/lib/metrics-pipeline is in use by process" in second.stderr
    ticks = container.ticks()
    container.remove()
    other = Container(environ, *data)
    try:
        eventually(lambda: other.ticks() > ticks, "readings go on")
    finally:
        other.remove()


# ---- compose.yaml


class Project:
    """What compose.yaml starts.

    Attributes:
        name: Its name, with which those of its volumes begin.
        port: The port at which InfluxDB is to be reached.
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self.name, self.port = environ["COMPOSE_PROJECT_NAME"], int(environ["INFLUXDB_PORT"])
        way = ["docker", "compose"]
        if subprocess.run([*way, "version"], capture_output=True, check=False).returncode != 0:
            assert shutil.which("docker-compose"), "neither docker compose nor docker-compose"
            way = ["docker-compose"]
        self._words = [*way, "-f", str(COMPOSE)]
        self._environ = environ

    def run(self, *words: str) -> str:
        """Run compose; return what it says."""
        return debian.command(*self._words, *words, env=self._environ)

    def status(self) -> dict[str, Any]:
        """Return the agent's own status."""
        told = self.run("exec", "-T", "agent", "metrics-pipeline", "status", "--json")
        found: dict[str, Any] = json.loads(told)
        return found

    def is_open(self, address: str, port: int) -> bool:
        """Tell whether InfluxDB answers there."""
        connection = http.client.HTTPConnection(address, port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def address(self) -> str:
        """Return the address of InfluxDB's container."""
        container = self.run("ps", "--quiet", "influxdb").strip()
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        told = debian.command("docker", "inspect", "-f", form, container, env=self._environ)
        return told.strip()


@pytest.fixture
def project(built: str, environ: dict[str, str]) -> Iterator[Project]:
    with image.engine(environ) as client:
        server = image.obtain(client, environ)
    if server == image.LOCAL:  # it has no shell
        words = ["docker", "build", "--tag", server := f"{BASE}-influxdb", "-"]
        subprocess.run(words, env=environ, input=INFLUXDB, text=True, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Project(
        {
            **environ,
            "COMPOSE_PROJECT_NAME": f"metrics-test-{uuid.uuid4().hex[:8]}",
            "BASE": BASE,
            "INFLUXDB_IMAGE": server,
            "INFLUXDB_PORT": str(port),
        }
    )
    yield one
    one.run("down", "--volumes")


def test_one_command_brings_a_server_its_set_up_and_the_agent(
    project: Project, environ: dict[str, str]
) -> None:
    # Until it is set up, nobody but the service `setup` can reach it.
    project.run("up", "--detach", "influxdb")
    wait = "until : </dev/tcp/127.0.0.1/8086; do sleep 0.1; done"
    project.run("exec", "-T", "influxdb", "bash", "-c", wait)
    assert not project.is_open("127.0.0.1", project.port)
    assert not project.is_open(project.address(), 8086)
    project.run("up", "--detach")
    eventually(lambda: project.is_open("127.0.0.1", project.port), "it can be reached")
    eventually(lambda: project.status()["delivered_points"] > 10, "points are delivered", 120)
    first = project.status()
    assert first["last_error"] is None
    # A second time it changes nothing, and the agent goes on with its store.
    project.run("up", "--detach")
    assert "exited with code" not in project.run("ps")
    project.run("up", "--detach", "--force-recreate", "--no-deps", "agent")
    eventually(lambda: project.status()["ticks"] > first["ticks"], "readings go on", 90)
    assert project.status()["lost"] == {}
    # Settings of a version that made them the agent's own.
    own = ["chown", "-R", "8687:8687", "/settings"]
    options = ["--rm", "--user=0", f"--volume={project.name}_settings:/settings", "--entrypoint"]
    debian.command("docker", "run", *options, own[0], IMAGE, *own[1:], env=environ)
    project.run("up", "--detach")
    assert "exited with code" not in project.run("ps")
    ticks = project.status()["ticks"]
    eventually(lambda: project.status()["ticks"] > ticks, "readings go on", 90)
