"""What a delivery reports, as long as it is the one that counts."""

from collections.abc import Callable

from pipeline.health import Health


class Reporter:
    """Passes on what a delivery reports, as long as that is the one that counts.

    One that was ended may still wait for a server that nobody wants any more.

    Args:
        health: Who is told.
        counts: Whether it is.
    """

    def __init__(self, health: Health, counts: Callable[[], bool]) -> None:
        self._health = health
        self._counts = counts

    def broke(self, message: str) -> None:
        """Delivery does not work any more."""
        if self._counts():
            self._health.broke(message)

    def healed(self) -> None:
        """Delivery works again."""
        if self._counts():
            self._health.healed()

    def failed(self) -> None:
        """An attempt to deliver failed; another one will follow."""
        self._health.failed()

    def wrote(self, seconds: float) -> None:
        """A batch was written in so many seconds."""
        if self._counts():
            self._health.wrote(seconds)
