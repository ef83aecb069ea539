"""systemd's units: the state of each, and how many have failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from pipeline.collectors._host.figures import printable
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, selection
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

# JSON came with version 246; Debian 10 and RHEL 8 have older ones.
_COMMAND = ["systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", "--no-pager"]

# A run takes more of the processor than a whole reading. Readings that are 10 s apart may come a
# little less than 10 s after each other.
_ANSWERS_LAST_S = 9.5

# Telegraf's numbers of the states.
_LOAD = {
    state: code
    for code, state in enumerate(
        ("loaded", "stub", "not-found", "bad-setting", "error", "merged", "masked")
    )
}
_ACTIVE = {
    state: code
    for code, state in enumerate(
        ("active", "reloading", "inactive", "failed", "activating", "deactivating")
    )
}
_SUB = {
    state: first + number
    for first, states in {
        0x00: "running dead start-pre start exited reload stop stop-watchdog stop-sigterm"
        " stop-sigkill stop-post final-sigterm failed auto-restart condition cleaning waiting"
        " reload-signal reload-notify final-watchdog dead-before-auto-restart"
        " failed-before-auto-restart dead-resources-pinned auto-restart-queued",
        0x20: "tentative plugged",
        0x30: "mounting mounting-done mounted remounting unmounting remounting-sigterm"
        " remounting-sigkill unmounting-sigterm unmounting-sigkill",
        0x50: "abandoned",
        0x60: "active",
        0x70: "start-chown start-post listening stop-pre stop-pre-sigterm stop-pre-sigkill"
        " final-sigkill",
        0x80: "activating activating-done deactivating deactivating-sigterm deactivating-sigkill",
        0xA0: "elapsed",
    }.items()
    for number, state in enumerate(states.split())
}


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit, and its three states in systemd's words."""

    name: str
    load: str
    active: str
    sub: str


class SystemdUnits(Collector):
    """Writes `systemd_units`, as Telegraf's input of that name, and how many units have failed.

    By default, all but services stay out of the former; the latter is of all units.
    """

    name = "systemd_units"
    series_tag = "name"
    default_exclude = (
        *("*.automount", "*.device", "*.mount", "*.path", "*.scope", "*.slice", "*.socket"),
        *("*.swap", "*.target", "*.timer"),
    )
    default_enabled = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._timeout_s = options.timeout_ms / 1000
        self._is_selected = selection(self, options)
        self._units: Sequence[_Unit] = ()
        self._failure: Exception | None = None
        self._asked_at = -inf

    def collect(self) -> Iterator[Point]:
        """Yield one point for all units, then one for each in the order of their names.

        systemd is asked about every 10 s at most, also while it fails.

        Raises:
            OSError: There is no systemd, or it does not answer.
        """
        now = self.host.clock.monotonic()
        if now - self._asked_at >= _ANSWERS_LAST_S:
            self._asked_at, self._failure = now, None
            try:
                self._units = _parse(self._ask())
            except Exception as error:  # noqa: BLE001 - told until it is asked again
                self._failure = error
        if self._failure:
            raise self._failure.with_traceback(None)
        failed = sum(unit.active == "failed" for unit in self._units)
        yield Point("systemd_units", {"failed": failed, "total": len(self._units)})
        for unit in self._units:
            if self._is_selected(unit.name):
                tags = {"load": unit.load, "active": unit.active, "sub": unit.sub}
                yield Point("systemd_units", _codes(unit), {"name": unit.name, **tags})

    def _ask(self) -> bytes:
        """Return systemctl's list; a container's host has it run in its own root folder."""
        host = self.host
        running = host.host_path("/run/systemd/system")
        try:
            host.list_folder(running)
        except FileNotFoundError as error:
            raise OSError(f"systemd does not run this host: there is no {running}") from error
        command = [] if host.root == "/" else ["chroot", host.root]
        call = partial(host.run, [*command, *_COMMAND], self._timeout_s)
        key = ("systemctl", host.root)
        try:
            return host.runner.call(key, call, self._timeout_s, whom="systemctl")
        except OSError as error:
            if not command or isinstance(error, TimeoutError):
                raise
            fix = "give it root and the capability SYS_CHROOT, and the host's /run"
            why = f"the host's systemctl does not run in the container ({error}): {fix}"
            raise OSError(why) from error


def _parse(text: bytes) -> list[_Unit]:
    """Read the list, in which a dot may mark a unit that is not as it should be."""
    units = {}
    for line in text.split(b"\n"):
        words = line.split()
        states = words[1:] if words and b"." not in words[0] else words
        if len(states) >= 4:  # its name and three states; more follows
            unit = _Unit(*map(printable, states[:4]))
            units[unit.name] = unit
    return [units[name] for name in sorted(units)]


def _codes(unit: _Unit) -> dict[str, FieldValue]:
    """Return the numbers of the states, but for one that has none."""
    codes = {
        "load_code": _LOAD.get(unit.load),
        "active_code": _ACTIVE.get(unit.active),
        "sub_code": _SUB.get(unit.sub),
    }
    return {field: code for field, code in codes.items() if code is not None}
