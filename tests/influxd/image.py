"""The image for the container: InfluxDB's own, or one made of an influxd that is at hand.

`python -m tests.influxd.image` makes the latter, for machines that cannot reach a registry.
"""

import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from tests.influxd import binary
from tests.influxd.server import UnavailableError

OFFICIAL = "influxdb:2.7"
LOCAL = f"metrics-pipeline/influxd:{binary.VERSION}"
_SOCKET = "unix:///var/run/docker.sock"
_CONNECT_WITHIN_S = 5.0
_INFLUXD = "/usr/bin/influxd"  # where the official image has it too
_DATA = "/data"
_COMMAND = (
    f'["--bolt-path={_DATA}/influxd.bolt", "--engine-path={_DATA}/engine",'
    f' "--sqlite-path={_DATA}/influxd.sqlite", "--reporting-disabled", "--log-level=error"]'
)


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment with DOCKER_HOST as `docker` itself would have it."""
    host = environ.get("DOCKER_HOST") or docker.ContextAPI.get_current_context().Host or _SOCKET
    return {**environ, "DOCKER_HOST": host.removeprefix("http+")}


def _answers(host: str) -> bool:
    # The docker package would leave a socket unclosed, which pytest reports, where nobody listens.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_WITHIN_S)
        return probe.connect_ex(host.removeprefix("unix://")) == 0


@contextmanager
def engine(environ: Mapping[str, str]) -> Iterator[docker.DockerClient]:
    """Gives a client of the Docker engine on this machine.

    Raises:
        UnavailableError: None answers.
    """
    environ = engine_environment(environ)
    host = environ["DOCKER_HOST"]
    if not host.startswith("unix://"):
        raise UnavailableError(f"the Docker engine {host} is not a socket on this machine")
    if not _answers(host):
        raise UnavailableError("no Docker engine answers")
    client = docker.from_env(environment=environ)
    try:
        yield client
    finally:
        client.close()


def present(client: docker.DockerClient, name: str) -> bool:
    """Tells whether the engine has the image."""
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def obtain(client: docker.DockerClient, environ: Mapping[str, str]) -> str:
    """Returns the name of an image that the engine has: as it is, pulled, or made.

    Raises:
        UnavailableError: It can neither be pulled nor made.
    """
    for name in (OFFICIAL, LOCAL):
        if present(client, name):
            return name
    try:
        client.images.pull(OFFICIAL)
    except (DockerException, OSError):  # without a registry we make our own
        try:
            make(client, binary.find(environ))
        except UnavailableError:
            raise UnavailableError(f"Docker cannot pull {OFFICIAL}") from None
        return LOCAL
    return OFFICIAL


def _libraries(influxd: Path) -> list[Path]:
    told = subprocess.run(["ldd", influxd], capture_output=True, text=True, check=False, timeout=20)
    # A static program has none. The loader is a line without an arrow.
    return [Path(path) for path in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", told.stdout, re.M)]


def make(client: docker.DockerClient, influxd: Path) -> None:
    """Makes the local image: the server, the libraries that it asks for, and nothing else."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as root:
            root.add(influxd, _INFLUXD)
            for library in _libraries(influxd):
                root.add(library)
            for name in ("tmp", _DATA):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
                root.addfile(folder)
        file.flush()
        repository, _, tag = LOCAL.partition(":")
        changes = [f'ENTRYPOINT ["{_INFLUXD}"]', f"CMD {_COMMAND}", "EXPOSE 8086"]
        client.api.import_image_from_file(file.name, repository, tag, changes)
        client.images.get(LOCAL)  # the answer to an import is 200 even where it failed


def extract(client: docker.DockerClient, name: str, target: Path) -> None:
    """Copies the influxd of an image to a file, whole or not at all."""
    container = client.containers.create(name)
    try:
        chunks, _ = container.get_archive(_INFLUXD)
        archive = io.BytesIO(b"".join(chunks))
    finally:
        container.remove(force=True, v=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        with tarfile.open(fileobj=archive) as files:
            files.extractall(folder, filter="data")
        (Path(folder) / "influxd").replace(target)


def main() -> None:
    """Makes the local image, unless the engine has it."""
    try:
        with engine(os.environ) as client:
            if not present(client, LOCAL):
                make(client, binary.find(os.environ))
            size = client.images.get(LOCAL).attrs["Size"]
    except UnavailableError as why:
        sys.exit(f"{why}: start Docker and run `make influxd` first")
    sys.stdout.write(f"image {LOCAL}: {size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
