"""The configured bucket as delivery and the sweep see it: prepare, write, renew the token."""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from pipeline.clock import Clock
from pipeline.influx.answer import Answer, InfluxError
from pipeline.influx.buckets import Rule, Wanted, command, drift, look, reconcile
from pipeline.influx.connection import Connection
from pipeline.influx.writeonly import WriteOnlyError
from pipeline.settings import Settings, SettingsError

_log = logging.getLogger(__name__)

# To count or delete points, InfluxDB goes through all that it holds.
PATIENCE_S = 300.0
CONFIRMED_AFTER_S = 60.0
"""The time until a lengthened rule is checked, in seconds; other hosts start within it."""


class RuleListener(Protocol):
    """Learns what the server says of the bucket."""

    def learn(self, rule: Rule | None, drift: str) -> None:
        """Learn the rule, and how it differs from the settings.

        Args:
            rule: The rule; None for a server without buckets.
            drift: The difference in a sentence; "" when there is none.
        """
        ...

    def leave_alone(self, why: str) -> None:
        """Learn why the rule is not what the settings want and stays so; "" when it is."""
        ...


class Target:
    """Where this host's readings go.

    Args:
        settings: With `influxdb_url` set.
        reload: Reads the settings again, for a token that was rotated.
        clock: Passed to the connection.
        listener: Learns the bucket's rule.
        on_date: Is called with InfluxDB's own clock, in seconds since 1970-01-01 UTC.
        obstacle: Returns why nothing may be sent at present; "" when it may.
        label: What a line of the log begins with.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        clock: Clock,
        listener: RuleListener,
        on_date: Callable[[float], object] = lambda _: None,
        obstacle: Callable[[], str] = lambda: "",
        label: str = "",
    ) -> None:
        self.settings = settings
        self._reload = reload
        self._clock = clock
        self._listener = listener
        self._on_date = on_date
        self._obstacle = obstacle
        self._label = label
        self._connection: Connection | None = None
        self._preparing = threading.Lock()
        self._prepared = False
        self._to_shorten = False
        self._confirm_at: float | None = None
        self._write_only = False
        self._takes_writes = False
        self._left_alone = ""

    @property
    def prepared(self) -> bool:
        """Whether the bucket's rule is reconciled; a refused write makes that necessary again."""
        return self._prepared

    @property
    def needs_recheck(self) -> bool:
        """Whether the rule was lengthened, and `look` has yet to check that it stayed so.

        InfluxDB cannot change a rule on condition that it is as before. When two hosts lengthen it
        at the same moment, the shorter age may be written last.
        """
        return self._confirm_at is not None

    @property
    def write_only(self) -> bool:
        """Whether the server had no buckets when last asked; then nothing is swept there."""
        return self._write_only

    def prepare(self) -> None:
        """Make the bucket what writes need: there, and with a rule that is long enough.

        That is done once, and again after a refused write. Where the token may not see or change
        the bucket, that is logged, and readings are written all the same: the sweep keeps this
        host's age. A rule that is too long is left to `shorten`.

        Raises:
            InfluxError: The server did not answer.
        """
        with self._preparing:
            if not self._prepared:
                self._prepare()
                self._prepared = True

    def _prepare(self) -> None:
        wanted, confirms = Wanted.of(self.settings), self._may_confirm()
        rule = self._reconciled(wanted)
        if confirms:
            self._confirm_at = None
        if rule is not None:
            self._to_shorten = wanted.mode == "enforce" and wanted.would_change(rule.age_s)
            if rule.change and wanted.mode == "extend":
                self._confirm_at = self._clock.monotonic() + CONFIRMED_AFTER_S
            self._report(wanted, rule)

    def _reconciled(self, wanted: Wanted) -> Rule | None:
        """Return the rule; None where it is left alone, which is reported."""
        try:
            with self.connection() as connection:
                rule = reconcile(connection, wanted, self._clock.now_ns(), shorten=False)
        except WriteOnlyError as only:
            self._have_no_buckets(only)
            return None
        except InfluxError as error:
            answer = error.answer
            if not answer.claims_success and answer.status not in (401, 403, 404, 422):
                raise
            self._leave_alone(f"The bucket's retention rule is left alone: {error}")
            return None
        self._write_only = False
        if rule is None:
            self._leave_alone(
                f"Bucket {wanted.bucket!r} cannot be seen with this token, "
                f"so its retention rule is left alone; with another one: {command(wanted)}"
            )
        return rule

    def shorten(self, connection: Connection) -> None:
        """Shorten the rule, if `enforce` asks for that; where that fails, the next call does it.

        No write needs it, and what it removes is counted first, which may take minutes.

        Args:
            connection: One with a timeout of minutes.
        """
        if not self._to_shorten:
            return
        wanted = Wanted.of(self.settings)
        try:
            rule = reconcile(connection, wanted, self._clock.now_ns())
        except InfluxError as error:
            self._leave_alone(f"The bucket's retention rule is left alone: {error}")
            return
        if rule is not None:
            self._to_shorten = bool(rule.refused)
            self._report(wanted, rule)

    def _report(self, wanted: Wanted, rule: Rule) -> None:
        why = f"The retention rule is left alone: {rule.refused}" if rule.refused else ""
        self._leave_alone(why)
        if rule.change:
            _log.info("%s%s", self._label, rule.change)
        self._listener.learn(rule, drift(wanted, rule))

    def _leave_alone(self, why: str) -> None:
        """Report why the rule is left alone, once a write has shown that the token is right."""
        self._left_alone = why
        if self._takes_writes or not why:
            self._listener.leave_alone(why)

    def look(self, connection: Connection) -> None:
        """Look at the bucket's rule, so that one that somebody changed shows.

        Nothing is changed, unless a lengthened rule has to be checked, or the server had no buckets
        until now, which a proxy may have said.

        Raises:
            InfluxError: The server did not answer, or did not allow it.
        """
        if self._may_confirm() or self._write_only:
            with self._preparing:
                self._prepare()
            return
        try:
            rule = look(connection)
        except WriteOnlyError as only:
            self._have_no_buckets(only)
            return
        if rule is not None:
            self._listener.learn(rule, drift(Wanted.of(self.settings), rule))

    def _may_confirm(self) -> bool:
        due = self._confirm_at  # read once: another thread may change it
        return due is not None and self._clock.monotonic() >= due

    def _have_no_buckets(self, only: WriteOnlyError) -> None:
        self._write_only = self._takes_writes = True
        self._leave_alone(str(only))
        self._listener.learn(None, str(only))

    def write(self, body: bytes) -> Answer:
        """Send a gzip member of lines; a failure is an answer too."""
        if why := self._obstacle():
            return Answer(None, message=why)
        if self._connection is None:
            self._connection = Connection(self.settings, self._clock)
        answer = self._connection.write(body)
        if answer.date_s is not None:
            self._on_date(answer.date_s)
        if answer.status in (401, 403, 404):
            self._prepared = self._takes_writes = False
        elif answer.status == 204 and not self._takes_writes:
            self._takes_writes = True
            if self._left_alone:
                self._listener.leave_alone(self._left_alone)
        return answer

    def renew(self) -> None:
        """Read the token from the settings again."""
        try:
            token = self._reload().influxdb_token
        except SettingsError:  # who follows the settings reports it
            return
        self.settings = dataclasses.replace(self.settings, influxdb_token=token)
        self.close()

    def close(self) -> None:
        """Close the connection; the next write opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connection(
        self, timeout_s: float | None = None
    ) -> contextlib.AbstractContextManager[Connection]:
        """Return a connection of one's own, closed at the end."""
        return contextlib.closing(Connection(self.settings, self._clock, timeout_s))
