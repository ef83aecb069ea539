"""The settings' files while they may change: read again, but never half written."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.settings.declared import Settings
from pipeline.settings.load import Loaded, SettingsError, load
from pipeline.settings.sources import watched

# It differs when a file has changed; None while there is no file.
_State = tuple[int, ...] | None


class Files:
    """The settings of a folder that was found once: where it is does not change while they do."""

    def __init__(
        self, config_dir: Path, environ: Mapping[str, str], collectors: Collection[str]
    ) -> None:
        self._paths = watched(config_dir, environ, ())
        self._config_dir = config_dir
        self._environ = dict(environ)
        self._collectors = collectors
        self._read = self._seen = self._states()
        self._filled: set[Path] = set()
        self.loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Read and validate the settings, and remember them.

        Raises:
            SettingsError: With everything that is wrong; the former ones stay remembered.
        """
        self._read = self._states()
        loaded = load(self._config_dir, self._environ, collectors=self._collectors)
        # A new mirror may have a file with its token: the next look sees that, and reads once more.
        self._paths = watched(self._config_dir, self._environ, loaded.settings.mirrors)
        self._filled = {path for path in self._paths if _is_filled(path)}
        self.loaded = loaded
        return loaded

    def peek(self) -> Settings:
        """Read and validate the settings without remembering them.

        Raises:
            SettingsError: With everything that is wrong.
        """
        return load(self._config_dir, self._environ, collectors=self._collectors).settings

    def reload(self) -> Loaded:
        """Do as `load` does, but take a file that is gone or empty for one that is being written.

        Raises:
            SettingsError: Also when a file is gone or empty.
        """
        self._read = self._states()
        if lost := [path for path in self._paths if path in self._filled and not _is_filled(path)]:
            raise SettingsError(
                [
                    f"{path}: {'is empty' if path.exists() else 'is gone'}; "
                    "to do without it, restart the agent"
                    for path in lost
                ]
            )
        return self.load()

    @property
    def has_unread_changes(self) -> bool:
        """Whether the last look found changes that have not been read."""
        return self._seen != self._read

    def changed(self) -> bool:
        """Tell whether the files have changed since they were read, and not since the last look.

        So a file that is written in several steps counts when it is complete. A look costs one
        call of stat for each file.
        """
        before, self._seen = self._seen, self._states()
        return self._seen == before != self._read

    def _states(self) -> list[_State]:
        return [_state(path) for path in self._paths]


def _state(path: Path) -> _State:
    try:
        status = os.stat(path)  # noqa: PTH116  # half the cost of Path.stat, for ever
    except OSError:
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _is_filled(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return False
