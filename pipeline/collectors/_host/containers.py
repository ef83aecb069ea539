"""The names of containers, which a person knows them by."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from pipeline.collectors._host.figures import printable
from pipeline.collectors._host.host import Host

_NAMES_LAST_S = 60.0  # one may be given another

_KUBERNETES = "/var/log/containers"
_PODMAN = "/var/lib/containers/storage/overlay-containers/containers.json"
_DOCKER = "/var/lib/docker/containers/{}/config.v2.json"

_LOG_RE = re.compile(r"(.+)_(.+)_(.+)-([0-9a-f]{64})\.log")
_PODMAN_RE = re.compile(rb'"id":\s*"([0-9a-f]{64})",\s*"names":\s*\["([^"\\]+)"')
_DOCKER_RE = re.compile(rb'"Name":\s*"/([^"\\]+)"')


class ContainerNames:
    """Knows the names of containers by their ids, as far as this user may read them.

    Docker's and Podman's are for root alone, those of Kubernetes for all: `namespace/pod/container`
    from the links to the containers' logs. They are on a disk, so it takes a `TimeoutRunner`.

    Args:
        host: The host.
        timeout_s: Longest wait, in seconds.
    """

    def __init__(self, host: Host, timeout_s: float) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._names: Mapping[str, str] = {}
        self._asked_for: frozenset[str] = frozenset()
        self._asked_at = 0.0

    def of(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return the names of those that have one, by id; what was known if there is no answer."""
        now = self._host.clock.monotonic()
        wanted = frozenset(ids)
        is_known = wanted <= self._asked_for and now - self._asked_at < _NAMES_LAST_S
        if not wanted or is_known:
            return self._names
        calls = {("containers", self._host.root): lambda: _look(self._host, wanted)}
        for answer in self._host.runner.run(calls, self._timeout_s).values():
            if not isinstance(answer, Exception):
                self._names, self._asked_for, self._asked_at = answer, wanted, now
        return self._names


def _look(host: Host, ids: Collection[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    with suppress(OSError):
        for log in host.list_folder(host.host_path(_KUBERNETES)):
            if match := _LOG_RE.fullmatch(log):
                pod, namespace, container, its = match.groups()
                names[its] = f"{namespace}/{pod}/{container}"
    with suppress(OSError):
        for its_id, name in _PODMAN_RE.findall(host.read_file(host.host_path(_PODMAN))):
            names[its_id.decode()] = printable(name)
    for one in ids - names.keys():
        with suppress(OSError):
            found = _DOCKER_RE.search(host.read_file(host.host_path(_DOCKER.format(one))))
            if found:
                names[one] = printable(found[1])
    return names
