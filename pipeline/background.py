"""Work in the background, in a thread that does not keep the process from ending."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T], name: str) -> Future[T]:
    """Begin work in a daemon thread; where the system starts none, do it here and now.

    Args:
        work: What to do; it may hang, as where it asks a disk or a server.
        name: The thread's name.

    Returns:
        What the work gives, or raises.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001  # it is raised where the outcome is read
            outcome.set_exception(error)

    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:  # the system starts no thread at present
        run()
    return outcome
