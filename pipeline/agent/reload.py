"""Settings that change while the agent runs: watched, read, logged, and replaced as a whole."""

import dataclasses
import logging
from collections.abc import Callable
from threading import Event

from pipeline.clock import Clock
from pipeline.health import Trouble
from pipeline.settings import Files, Loaded, Settings, SettingsError, changes

_log = logging.getLogger(__name__)

# Waking the thread costs more than the look, so an agent with a long interval looks less often.
_LOOK_S, _SELDOM_S, _SOON_S = 2.0, 5.0, 0.25
# The fault may be elsewhere, such as a certificate that is not there yet.
_AGAIN_LOOKS = 3
_NEED_RESTART = ("data_dir",)  # a running agent cannot change them


class Reload:
    """Keeps an agent's settings those of its files.

    Args:
        files: The files, which have been read once.
        clock: The source of time.
        apply: Is called with new settings.
        trouble: Shows, and logs, why the files cannot be used.
        used: The settings in use, when they differ from the files.
    """

    def __init__(
        self,
        files: Files,
        clock: Clock,
        apply: Callable[[Settings], None],
        trouble: Trouble,
        used: Loaded | None = None,
    ) -> None:
        self._files = files
        self._clock = clock
        self._apply = apply
        self._trouble = trouble
        self._used = used or files.loaded or files.load()
        # Only logged: the agent works all the same.
        self._exposed, self._fixed = Trouble(), Trouble()

    def run(self, stop: Event, wake: Event, look: Callable[[], None] = lambda: None) -> None:
        """Look at the files until `stop`, and read them when they have changed.

        Args:
            stop: Ends it at once.
            wake: Set with `stop`, and to have the files read whether or not they have changed.
            look: Is called each time, for other things to look at.
        """
        looks = 0
        self._warn(self._used)
        while True:
            self._clock.wait(wake, self._rest_s())
            if stop.is_set():
                return
            looks += 1
            look()
            if wake.is_set():
                wake.clear()
                if not self.read():
                    _log.info("The settings have not changed")
            elif self._files.changed() or (self._trouble.under_way and looks % _AGAIN_LOOKS == 0):
                self.read()

    def _rest_s(self) -> float:
        if self._files.has_unread_changes:
            return _SOON_S
        interval_s = self._used.settings.collection_interval_ms / 1000
        return min(max(_LOOK_S, interval_s / 2), _SELDOM_S)

    def read(self) -> bool:
        """Read the files; a bad edit changes nothing and is logged once.

        Returns:
            Whether the settings changed.
        """
        try:
            new = self._files.reload()
        except SettingsError as error:
            self._refuse(str(error))
            return False
        self._trouble.ends("The settings can be used again")
        self._trouble.clear()  # the same mistake, made again, is logged again
        self._warn(new)
        return self._take(self._keep_fixed(new))

    def _refuse(self, error: str) -> None:
        problems = error.splitlines()
        lines = [f"The settings stay as they are: {problem}" for problem in problems]
        self._trouble.begins("; ".join(problems), *lines, kind=error, level=logging.ERROR)

    def _warn(self, loaded: Loaded) -> None:
        """Warn once of what others can do to the files."""
        exposures = (*loaded.changeable, *loaded.readable)
        for exposure in exposures:
            self._exposed.begins(str(exposure), str(exposure), kind=exposure)
        if not exposures:
            self._exposed.ends()

    def _keep_fixed(self, new: Loaded) -> Loaded:
        """Return the new settings, without changes that need a restart; log those once."""
        kept = {}
        for name in _NEED_RESTART:
            value, used = getattr(new.settings, name), getattr(self._used.settings, name)
            if value != used:
                kept[name] = used
                line = (
                    f"{name} = {value} ({new.sources[name]}) needs a restart of the agent "
                    f"(these do: {', '.join(_NEED_RESTART)}); until then it is {used}"
                )
                self._fixed.begins(line, line, kind=value)
        if not kept:
            self._fixed.ends()
        sources = {**new.sources, **{name: self._used.sources[name] for name in kept}}
        settings = dataclasses.replace(new.settings, **kept)
        return dataclasses.replace(new, settings=settings, sources=sources)

    def _take(self, new: Loaded) -> bool:
        old, self._used = self._used, new
        if new.settings == old.settings:
            return False
        for change in changes(old, new):
            _log.info("Setting %s", change)
        self._apply(new.settings)
        return True
