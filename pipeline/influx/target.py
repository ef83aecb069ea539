"""The configured bucket as delivery sees it: prepare, write, renew the token."""

import dataclasses
import logging
from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.influx.buckets import Rule, reconcile
from pipeline.influx.connection import Connection, InfluxError
from pipeline.influx.verdicts import Answer
from pipeline.settings import Settings, SettingsError

_log = logging.getLogger(__name__)


class Target:
    """Where this host's readings go.

    Args:
        settings: With `influxdb_url` set.
        reload: Reads the settings again, for a token that was rotated.
        clock: Passed to the connection.
        on_rule: Is told the bucket's rule when it is known.
        on_date: Is told InfluxDB's own clock, in seconds since 1970-01-01 UTC.
        obstacle: Tells why nothing may be sent at present; "" when it may.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        clock: Clock,
        on_rule: Callable[[Rule], None],
        on_date: Callable[[float], object] = lambda _: None,
        obstacle: Callable[[], str] = str,
    ) -> None:
        self.settings = settings
        self._reload = reload
        self._clock = clock
        self._on_rule = on_rule
        self._on_date = on_date
        self._obstacle = obstacle
        self._connection: Connection | None = None
        self._warned = ""

    def prepare(self) -> None:
        """Reconcile the bucket's rule with the settings, once before the first write.

        A token that may not look at the bucket, or not change it, is told so, and writes all the
        same: the sweep keeps this host's age.

        Raises:
            InfluxError: The server did not answer; the readings wait.
        """
        try:
            rule = reconcile(self._connected())
        except InfluxError as error:
            if error.answer.status not in (401, 403, 404, 422):
                raise
            self._warn(f"The bucket's retention rule is left alone: {error}")
            return
        if rule is None:
            bucket = self.settings.influxdb_bucket
            self._warn(
                f"Bucket {bucket!r} cannot be seen with this token, "
                "so its retention rule is left alone"
            )
            return
        self._warned = ""
        if rule.change:
            _log.info("%s", rule.change)
        self._on_rule(rule)

    def _warn(self, message: str) -> None:
        # Each try with a token that is refused prepares anew; once is enough to be told.
        if message != self._warned:
            self._warned = message
            _log.warning("%s", message)

    def write(self, body: bytes) -> Answer:
        """Send a gzip stream of lines; whatever fails is an answer too."""
        if why := self._obstacle():
            return Answer(None, message=why)
        answer = self._connected().write(body)
        if answer.date_s is not None:
            self._on_date(answer.date_s)
        return answer

    def renew(self) -> None:
        """Take the token that is in the settings now."""
        try:
            token = self._reload().influxdb_token
        except SettingsError as error:
            self._warn(f"The token is not read anew: {error}")
            return
        self.settings = dataclasses.replace(self.settings, influxdb_token=token)
        self.close()

    def close(self) -> None:
        """Close the connection; the next write opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.settings, self._clock)
        return self._connection
