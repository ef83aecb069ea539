"""`doctor`: every precondition checked, each by one small function."""

import contextlib
import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from pipeline.cli.doctor import server as checks
from pipeline.cli.doctor.server import Finding
from pipeline.clock import Clock
from pipeline.collectors import Guard, Host, build
from pipeline.health import human
from pipeline.influx import Connection, unprotected
from pipeline.settings import (
    HOUR_NS,
    MAIN,
    Exposure,
    Loaded,
    Settings,
    SettingsError,
    is_written_by_others,
    setting_name,
)
from pipeline.spool import SpoolError, SpoolReader, holder

_LOOPBACK = "127.0.0.1"
_ASK_S = 5.0
_AS_AGENT = "run this as the user of the agent; for the agent itself, set another data_dir"


def examine(
    load: Callable[[], Loaded], config_dir: Path, clock: Clock, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Check everything, beginning with what is local.

    Args:
        load: Reads the settings.
        config_dir: Their folder.
        clock: Time.
        environ: The environment, which says where a container sees its host.
    """
    try:
        loaded = load()
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("settings", False, problem, "correct it; nothing else could be checked")
        return
    settings = loaded.settings
    yield Finding("settings", True, f"those in {config_dir} can be used")
    yield exposed("permissions", loaded.changeable, "nobody else can change the settings")
    yield exposed("secrets", loaded.readable, "open to nobody else")
    local: dict[str, Callable[[], Finding]] = {
        "data_dir": lambda: data_dir(settings.data_dir),
        "store": lambda: store(settings.data_dir),
        "room": lambda: room(settings),
        "port": lambda: port(settings),
    }
    for name, check in local.items():
        try:
            yield check()
        except OSError as error:  # such as no right to look into a folder
            message = f"{error.filename or name}: {error.strerror}"
            yield Finding(name, False, message, _AS_AGENT)
    host = Host.system(clock, settings.host_root, environ)
    for guard in build(host, settings.collectors):
        yield collector(guard, clock, settings)
    if not settings.delivers:
        yield Finding("server", True, "no influxdb_url: readings stay on this machine")
        return
    for name, own in settings.servers.items():
        yield encryption(own, name)
        with contextlib.closing(Connection(own, clock)) as connection:
            yield from checks.examine(
                connection,
                clock,
                lambda: _spooled(settings.data_dir, clock),
                _place_of_token(name, loaded.tokens[name], environ),
                name,
            )


def encryption(settings: Settings, server: str = MAIN) -> Finding:
    """Say what others on the way to a server can do; the agent works all the same."""
    name = checks.name_of("encryption", server)
    if (exposure := unprotected(settings, server)) is None:
        return Finding(name, True, "nobody on the way to the server can read what is sent")
    return Finding(name, True, exposure.message, exposure.fix)


def _place_of_token(server: str, source: str, environ: Mapping[str, str]) -> str:
    """Say where a valid token of a server is to be put."""
    token = setting_name(server, "token")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and Path(source).parent == Path(folder):  # a copy, which the service manager makes
        return f"put a valid {token} where the service has its credential from ({source})"
    return f"put a valid {token} in {source}"


def exposed(name: str, found: Collection[Exposure], otherwise: str) -> Finding:
    """Say what others can do to the files of the settings, if anything."""
    if not found:
        return Finding(name, True, otherwise)
    message = ", ".join(exposure.message for exposure in found)
    return Finding(name, False, message, " && ".join(exposure.fix for exposure in found))


def data_dir(directory: Path) -> Finding:
    """Check that the data folder and all in it belong to the agent's user."""
    there = _existing(directory)
    if not there.is_dir() or not _may_write(there):
        return Finding(
            "data_dir", False, f"{there} is not a folder that this user may write to", _AS_AGENT
        )
    owner = there.stat().st_uid
    if there == directory and is_written_by_others(there.stat()):
        message = f"{there} can be written by others"
        return Finding("data_dir", False, message, f"chmod go-w {there}")
    for path in sorted(directory.iterdir()) if there == directory else ():
        if path.lstat().st_uid != owner:  # such as after a run by root
            message = f"{path} belongs to another user than its folder"
            return Finding("data_dir", False, message, f"chown -h --reference={there} {path}")
        if path.is_symlink():
            message = f"{path} is a link, and none is followed"
            return Finding("data_dir", False, message, f"rm {path}")
        if not _may_write(path):
            return Finding("data_dir", False, f"this user may not write to {path}", _AS_AGENT)
    pid = holder(directory)
    use = f"in use by process {pid}" if pid is not None else "free"
    return Finding("data_dir", True, f"{directory} is writable, {use}")


def store(directory: Path) -> Finding:
    """Check that the store can be read."""
    try:
        with SpoolReader(directory) as reader:
            contents = reader.contents()
    except FileNotFoundError:
        return Finding("store", True, "none yet; the agent makes it")
    except SpoolError as error:
        what, _, fix = str(error).rpartition("; ")
        return Finding("store", False, what or fix, fix)
    return Finding("store", True, f"{human.count(contents.ticks, 'reading')} so far")


def room(settings: Settings) -> Finding:
    """Check that the disk has room for all that the store may grow to."""
    there = _existing(settings.data_dir)
    free = shutil.disk_usage(there).free // 2**20
    files = settings.data_dir.glob("spool.db*")
    left = settings.spool_max_mb - sum(path.stat().st_size for path in files) // 2**20
    if free < left:
        message = f"{free} MB free at {there}, and the store may take {left} MB more"
        return Finding("room", False, message, "make room, or lower spool_max_mb")
    return Finding("room", True, f"{free} MB free at {there}")


def port(settings: Settings) -> Finding:
    """Check that the endpoint's port is free, or in use by this agent."""
    number = settings.http_port
    if number == 0:
        return Finding("port", True, "the endpoint is off")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _serves(number, settings.data_dir):
                return Finding("port", True, f"{number} is this agent's")
            message = f"port {number} cannot be used: {error.strerror}"
            return Finding("port", False, message, "set another http_port, or 0")
    return Finding("port", True, f"{number} is free")


def collector(guard: Guard, clock: Clock, settings: Settings) -> Finding:
    """Check that a collector reads something."""
    name = f"collector {guard.name}"
    outcome = guard.run(clock.now_ns(), {"host": settings.host, **settings.tags})
    if outcome.error:
        fix = f"fix that, or set enabled = false in [collectors.{guard.name}]"
        return Finding(name, False, outcome.error, fix)
    if outcome.silent_points:
        message = "; ".join(f"{problem}: {why}" for problem, why in outcome.problems.items())
        fix = f"see to that, or raise timeout_ms in [collectors.{guard.name}]"
        return Finding(name, False, message, fix)
    if outcome.lost_points:
        message = f"leaves out {human.count(outcome.lost_points, 'point')}"
        return Finding(name, False, message, "metrics-pipeline once says which and why")
    points = len(outcome.lines)
    return Finding(
        name, True, human.count(points, "point") if points else "nothing to read on this host"
    )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _existing(directory: Path) -> Path:
    """Return the folder, or the nearest above it that there is."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def _serves(number: int, directory: Path) -> bool:
    """Tell whether the agent with this data directory answers at a port."""
    connection = HTTPConnection(_LOOPBACK, number, timeout=_ASK_S)
    try:
        connection.request("GET", "/status")
        status = json.loads(connection.getresponse().read())
        return bool(status["data_dir"] == str(directory))
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        connection.close()


def _spooled(directory: Path, clock: Clock) -> tuple[int, frozenset[int]] | None:
    try:
        with SpoolReader(directory) as reader:
            times = frozenset(reader.times(clock.now_ns() - 2 * HOUR_NS))
            first = reader.contents().first_ns
    except (FileNotFoundError, SpoolError):
        return None
    return None if first is None else (first, times)
