"""Notifies the service manager by sd_notify(3): ready, alive, stopping."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from pipeline.health import Health, human

_UNTIL_READY_S = 0.05
_USUALLY_S = 10.0
_WITHOUT_MANAGER_S = 86_400.0
_MORE_TIME = "EXTEND_TIMEOUT_USEC=600000000"
_SEND_WITHIN_S = 1.0


class Notifier:
    """Notifies a manager, if there is one, by as few words as it needs.

    An agent is ready when its first reading is durable, and has as much time for that as a full
    disk lasts. It is alive while readings are taken, so that the manager's watchdog also ends an
    agent that only looks as if it ran. A full disk or a server that is down is not a reason to end
    it.

    Args:
        environ: NOTIFY_SOCKET names the manager's socket; WATCHDOG_USEC and WATCHDOG_PID say how
            long it waits for a sign of life, and of whom.
        health: Returns the state of the collection; None while it is stopped.
    """

    def __init__(self, environ: Mapping[str, str], health: Callable[[], Health | None]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._pause_s = min(_USUALLY_S, _patience_s(environ) / 4)
        self._health = health
        self._ready = False
        self._status = ""

    def starting(self) -> None:
        """Ask for time to open the store, which may be large, or its disk be slow."""
        if self._address:
            self._send(_MORE_TIME)

    def look(self) -> float:
        """Send what has to be sent now; return in how many seconds to look again."""
        if not self._address:
            return _WITHOUT_MANAGER_S
        if (health := self._health()) is not None:
            self._tell(health)
        return self._pause_s if self._ready else _UNTIL_READY_S

    def stopping(self) -> None:
        """Notify that the agent is stopping."""
        if self._address:
            self._send("STOPPING=1")

    def _tell(self, health: Health) -> None:
        words = []
        if not self._ready and health.last_reading is not None:
            self._ready = True
            words.append("READY=1")
        if not health.stalled():
            if not self._ready:
                words.append(_MORE_TIME)
            words.append("WATCHDOG=1")
        if (status := _status(health)) != self._status:
            self._status = status
            words.append(f"STATUS={status}")
        if words:
            self._send(*words)

    def _send(self, *words: str) -> None:
        # A manager that is being restarted is back for the next notification.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(_SEND_WITHIN_S)
            out.sendto("\n".join(words).encode(), self._address)


def _address(name: str) -> str:
    # @ stands for the zero byte at the start of an abstract socket's name.
    return f"\0{name[1:]}" if name.startswith("@") else name


def _patience_s(environ: Mapping[str, str]) -> float:
    """Return how long the manager waits for a sign of life of this process, in seconds."""
    of_this_process = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = environ.get("WATCHDOG_USEC", "")
    if of_this_process and microseconds.isdecimal() and int(microseconds):
        return int(microseconds) / 1e6
    return float("inf")


def _status(health: Health) -> str:
    if troubles := health.troubles():
        told = "; ".join(f"{source}: {why}" for source, why in troubles.items())
        return " ".join(told.split())
    if (reading := health.last_reading) is not None:
        return f"{human.count(reading.points, 'point')} a reading"
    return "Starting"
