"""Notifies the service manager by sd_notify(3): ready, alive, stopping."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self

from pipeline.clock import Clock
from pipeline.health import Health

_UNTIL_READY_S = 0.05
_USUALLY_S = 10.0
_SEND_WITHIN_S = 1.0
_START_S, _START_AGAIN_S = 30, 10.0


class Notifier:
    """Sends the notifications while it is entered; does nothing without a manager.

    An agent is ready when its first reading is durable. Until then it asks for more time: to open a
    large store, or until a full disk has room. It is alive while readings are taken, so that the
    manager's watchdog also ends an agent that only looks as if it ran. A full disk or a server that
    is down is not a reason to end it.

    Args:
        environ: NOTIFY_SOCKET names the manager's socket; WATCHDOG_USEC and WATCHDOG_PID say how
            long it waits for a sign of life, and of whom.
        health: Returns the state of the collection; None while it is stopped.
        clock: The source of time.
    """

    def __init__(
        self, environ: Mapping[str, str], health: Callable[[], Health | None], clock: Clock
    ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._pause_s = min(_USUALLY_S, _patience_s(environ) / 4)
        self._health = health
        self._clock = clock
        self._ready = False
        self._asked: float | None = None
        self._status = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def __enter__(self) -> Self:
        """Start notifying."""
        if self._address:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Notify that the agent is stopping, and end."""
        self._stop.set()
        if self._address:
            self._thread.join(_SEND_WITHIN_S)
            self._send("STOPPING=1")

    def look(self) -> None:
        """Send what has to be sent now."""
        health = self._health()
        words = []
        if not self._ready and health is not None and health.last_reading is not None:
            self._ready = True
            words.append("READY=1")
        if not self._ready and (health is None or not health.stalled()):
            words += self._more_time()
        if health is not None and not health.stalled():
            words.append("WATCHDOG=1")
        if health is not None and (status := _status(health)) != self._status:
            self._status = status
            words.append(f"STATUS={status}")
        if words:
            self._send(*words)

    def _more_time(self) -> list[str]:
        now = self._clock.monotonic()
        if self._asked is not None and now - self._asked < _START_AGAIN_S:
            return []
        self._asked = now
        return [f"EXTEND_TIMEOUT_USEC={_START_S}000000"]

    def _run(self) -> None:
        pause_s = 0.0
        while not self._clock.wait(self._stop, pause_s):
            self.look()
            pause_s = self._pause_s if self._ready else _UNTIL_READY_S

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
    return f"{health.last_reading.points} points a reading" if health.last_reading else "Starting"
