"""The agent: start, stop, and the endpoint that outlives a stop."""

import dataclasses
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pipeline.agent.reload import Reload
from pipeline.agent.session import AgentError, Session
from pipeline.clock import Clock, SystemClock
from pipeline.endpoint import Endpoint, routes
from pipeline.health import Health
from pipeline.settings import Files, Settings

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Agent:
    """Collects, delivers and sweeps between `start` and `stop`; may be started again.

    Args:
        settings: The settings.
        files: Their files, which are followed; None when the settings do not change.
        clock: The source of time.
        on_change: Is called with new settings.
        on_lost: Is called when another agent has taken the data directory.

    Attributes:
        lost: Why its collection ended by itself, in a sentence, or "".
    """

    def __init__(
        self,
        settings: Settings,
        files: Files | None = None,
        clock: Clock | None = None,
        on_change: Callable[[Settings], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.lost = ""
        self._on_lost = on_lost
        self._files = files
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        # It holds the data directory while collection runs or a one-time task uses it.
        self._session: Session | None = None
        self._uses = 0
        self._collecting = False
        self._closed = False
        self._endpoint: Endpoint | None = None

    @property
    def running(self) -> bool:
        """Whether readings are being taken."""
        return self._collecting and not self.lost

    @property
    def busy(self) -> bool:
        """Whether a `save` or `cleanup` is under way."""
        return self._uses > 0

    @property
    def health(self) -> Health | None:
        """The state of the collection; None while it is stopped."""
        session = self._session
        return session.health if session and self.running else None

    def start(self) -> None:
        """Take a reading at once and go on; does nothing when collection is running.

        Raises:
            AgentError: The data directory cannot be used, or no thread started.
        """
        with self._lock:
            if self.running:
                _log.info("Metrics collection already running")
                return
            session = self._opened()
            interval_ms = self.settings.collection_interval_ms
            _log.info("Starting metrics collection (interval: %dms)", interval_ms)
            try:
                session.start()
            except AgentError:
                self._release()
                raise
            self._collecting = True
            _log.info("Readings are kept in %s", self.settings.data_dir)
            self._serve(session)
            self._follow(session)

    def try_start(self) -> str:
        """Start as `start` does; return why it could not, or ""."""
        try:
            self.start()
        except AgentError as error:
            return str(error)
        return ""

    def use(self, settings: Settings, files: Files) -> None:
        """Set the settings for the next start."""
        self.settings, self._files = settings, files

    def reload(self) -> None:
        """Have the settings read again now, by the thread that follows them."""
        if (session := self._session) is not None:
            session.wake("settings")

    def stop(self) -> None:
        """End collection and keep the last reading; the endpoint still answers."""
        with self._lock:
            if self._session is None or not self._collecting:
                return
            self._collecting = False
            self._session.stop()
            self._session = None
            _log.info("Metrics collection stopped")

    def close(self) -> None:
        """Stop everything, for good."""
        with self._lock:
            self.stop()
            self._closed = True
            if self._endpoint is not None:
                self._endpoint.close()
                self._endpoint = None

    def abandon(self) -> None:
        """Let go of what belongs to the process that this one was forked from.

        A fork copies the sockets and the lock of the data directory, but no threads.
        """
        if self._session is not None:
            self._session.abandon()
        if self._endpoint is not None:
            self._endpoint.abandon()

    def save(self) -> dict[str, str]:
        """Take one reading now and make it durable; return the collectors that failed, and why.

        Raises:
            AgentError: The data directory cannot be used.
            SpoolError: The reading could not be made durable.
        """
        return self._with_session(Session.record)

    def cleanup(self) -> int:
        """Remove what is older than the age, in InfluxDB and here; return how many points.

        Raises:
            AgentError: The data directory cannot be used.
            InfluxError: InfluxDB failed.
            SpoolError: The local copy could not be swept.
        """
        return self._with_session(Session.sweep).points

    def _with_session(self, work: Callable[[Session], T]) -> T:
        with self._lock:
            session = self._opened()
            self._uses += 1
        try:
            # Without the lock: a server may take minutes, and a stop must not wait for it.
            return work(session)
        finally:
            with self._lock:
                self._uses -= 1
                self._release()

    def _release(self) -> None:
        """End a session that nobody needs any more."""
        if self._session is not None and self._uses == 0 and not self._collecting:
            self._session.stop()
            self._session = None

    def _opened(self) -> Session:
        if self.lost:
            self.stop()
            self.lost = ""
        if self._closed:  # a request to the endpoint can be late
            raise AgentError("this agent was closed; make another one")
        if self._session is None:
            self._session = Session(self.settings, self._settings_now, self._clock, self._lose)
        return self._session

    def _lose(self, why: str) -> None:
        if not self.lost:
            self.lost = why
            _log.error("Metrics collection ends: %s", why)
            self._on_lost()

    def _settings_now(self) -> Settings:
        return self._files.peek() if self._files else self.settings

    def _follow(self, session: Session) -> None:
        if self._files is None:
            return
        loaded = self._files.loaded
        reload = Reload(
            self._files,
            self._clock,
            self._change,
            session.health.trouble("settings"),
            # The settings in use: the files may differ in those that need a restart.
            loaded and dataclasses.replace(loaded, settings=self.settings),
        )
        session.follow(partial(reload.run, look=partial(self._start_missing, session)))

    def _change(self, settings: Settings) -> None:
        with self._lock:
            session = self._session
            if session is None or not self._collecting:
                return
            self.settings = settings
            self._on_change(settings)
            session.change(settings)
            self._serve(session)

    def _start_missing(self, session: Session) -> None:
        """Start again what could not be started, or has died."""
        session.start_missing()
        with self._lock:
            if self._collecting and self._session is session:
                self._serve(session)

    def _serve(self, session: Session) -> None:
        port, trouble = self.settings.http_port, session.health.trouble("endpoint")
        if self._endpoint is not None and self._endpoint.port != port:
            self._endpoint.close()
            self._endpoint = None
        if port == 0 or self._endpoint is not None:
            trouble.ends()
            return
        try:
            self._endpoint = Endpoint(port, routes(self, self._clock), self._clock)
        except OSError as error:
            why = f"port {port} cannot be used ({error.strerror}); set another http_port, or 0"
            trouble.begins(f"the endpoint is off: {why}", f"The endpoint is off, {why}", kind=port)
        else:
            if not trouble.under_way:
                _log.info("Charts of this host are at http://127.0.0.1:%d/", port)
            trouble.ends(f"The endpoint answers at port {port}")
