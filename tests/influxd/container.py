"""InfluxDB in a container of its own, under testcontainers."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from tests.influxd import image
from tests.influxd.server import ORG, InfluxServer, onboard

_PORT = 8086
_LOOPBACK = "127.0.0.1"
_READY_WITHIN_S = 60
# Waits for the end of its standard input, which comes with the end of this process however it ends.
_REMOVE_AFTERWARDS = """
import sys
sys.stdin.read()
import docker
docker.from_env().api.remove_container(sys.argv[1], force=True, v=True)
"""


@contextmanager
def _removed_when_killed(container_id: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Has the container removed even if this process is killed; ryuk would need another image."""
    remover = subprocess.Popen(
        [sys.executable, "-I", "-c", _REMOVE_AFTERWARDS, container_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
        start_new_session=True,  # Ctrl-C is for pytest
    )
    try:
        yield
    finally:
        remover.kill()
        remover.communicate()


@contextmanager
def influxdb(environ: Mapping[str, str]) -> Iterator[InfluxServer]:
    """Runs InfluxDB in a container that is published on loopback only.

    Args:
        environ: The environment, which may name the engine.

    Raises:
        UnavailableError: No engine answers, or no image can be had.
    """
    environ = image.engine_environment(environ)
    with image.engine(environ) as client:
        name = image.obtain(client, environ)
    # Here and not in the environment, so that the user's shell and import order do not matter.
    testcontainers_config.ryuk_disabled = True  # its image cannot be pulled everywhere
    testcontainers_config.tc_host_override = _LOOPBACK
    # In a sandbox that looks like a container it would try the bridge's address instead.
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    ready = HttpWaitStrategy(_PORT, "/health").with_startup_timeout(_READY_WITHIN_S)
    container = DockerContainer(name, docker_client_kw={"environment": environ})
    container.waiting_for(ready.with_poll_interval(0.1))
    # With the address, or Docker publishes to the whole network; testcontainers hands it on.
    container.ports[f"{_PORT}/tcp"] = (_LOOPBACK,)  # type: ignore[assignment]
    with container, _removed_when_killed(container.get_container_id(), environ):
        url = f"http://{_LOOPBACK}:{container.get_exposed_port(_PORT)}"
        yield InfluxServer(url, ORG, onboard(url), way="container")
