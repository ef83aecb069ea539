"""The settings files as `setup` finds and leaves them, which may be incomplete."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.settings.constraints import MAIN, NEEDED, setting_name
from pipeline.settings.declared import Mirror
from pipeline.settings.edit import edit, ensure_writable
from pipeline.settings.load import SettingsError, contradictions, given_at, load, read_all
from pipeline.settings.sources import PLAIN, SECRETS, variable, variable_source


class SettingsFiles:
    """settings.toml and .secrets.toml of a folder, and what wins over them.

    Args:
        config_dir: Their folder; neither it nor they need exist.
        environ: The environment.
        collectors: The names that [collectors.<name>] tables may have.
        server: The server to be set up: the main one, or a mirror, new or not.

    Attributes:
        settings: The present settings for that server, without its URL, which setup may replace.
        url: Its present URL; "" when there is none.
        changeable: The files and folders that another user can change.

    Raises:
        SettingsError: They cannot be used.
    """

    def __init__(
        self,
        config_dir: Path,
        environ: Mapping[str, str],
        collectors: Collection[str],
        server: str = MAIN,
    ) -> None:
        self._dir, self._environ, self._collectors = config_dir, environ, collectors
        self._server = server
        found = load(config_dir, environ, collectors=collectors, complete=False)
        self.changeable = found.changeable
        self._given = read_all(config_dir, environ)[0]
        url = self._given.get("influxdb_url")
        self._present = replace(found.settings, influxdb_url=str(url.value) if url else "")
        own = self._present
        if server != MAIN:
            own = own.at(self._mirror())
        self.url, self.settings = own.influxdb_url, replace(own, influxdb_url="")

    def _mirror(self) -> Mirror:
        """Return the mirror to be set up; a new one has the names that the main server has."""
        main = self._present
        for name in (setting_name(MAIN, part) for part in NEEDED):
            if not getattr(main, name):
                why = f"mirrors need {name}, which is not set: run setup without --mirror first"
                raise SettingsError([why])
        new = Mirror(org=main.influxdb_org, bucket=main.influxdb_bucket)
        return main.mirrors.get(self._server, new)

    def check(self, values: Mapping[str, str]) -> None:
        """Make sure that values can be written, and that nothing is against them.

        Args:
            values: Of the server's settings: `url`, `org`, `bucket` and `token`, which is left out
                while it is not known.

        Raises:
            SettingsError: Another source overrides one, they contradict other settings, or a file
                cannot be written.
        """
        self._agree(values)
        for path in (self._dir / PLAIN, self._dir / SECRETS):
            try:
                ensure_writable(path)
            except OSError as error:
                why = error.strerror or "not possible"
                raise SettingsError(
                    [
                        f"{path} cannot be written ({why.lower()}): make it writable, run setup as"
                        " somebody who may, or name another folder by --config-dir"
                    ]
                ) from error

    def _agree(self, values: Mapping[str, str]) -> None:
        """Make sure that what is written will count, and may stand beside the other settings."""
        written = [str(self._dir / name) for name in (PLAIN, SECRETS)]
        for name, value in self._named(values).items():
            given = given_at(self._given, name)
            if given and given.source not in written and given.value != value:
                own = given.source == variable_source(variable(name))
                fix = "unset it" if own else "take it out there"
                raise SettingsError(
                    [f"{given.source} gives {name} another value than setup would: {fix}"]
                )
        changes: dict[str, Any] = dict(values)
        if self._server == MAIN:
            changes = self._named(changes)
        else:
            mirror = replace(self._mirror(), **changes)
            changes = {"mirrors": {**self._present.mirrors, self._server: mirror}}
        wanted = replace(self._present, **changes)
        if wrong := [why for _, why in contradictions(wanted)]:
            raise SettingsError(wrong)

    def write(self, values: Mapping[str, str]) -> list[Path]:
        """Write values, each to the file that has it now, else to the one where it belongs.

        Args:
            values: As for `check`.

        Returns:
            The files that were changed.

        Raises:
            OSError: A file cannot be written.
            SettingsError: The settings cannot be used.
        """
        self._agree(values)
        plain, secret = self._dir / PLAIN, self._dir / SECRETS
        named = self._named(values)
        hidden = {
            setting_name(self._server, "token"),
            *(n for n in named if self._is_in(n, secret)),
        }
        changed = []
        # The token first: a URL without one is an error for whoever reads the files meanwhile.
        some = {name: value for name, value in named.items() if name in hidden}
        if edit(secret, some, secret=True, owner=self._owner()):
            changed.append(secret)
        rest = {name: value for name, value in named.items() if name not in hidden}
        if edit(plain, rest):
            changed.append(plain)
        load(self._dir, self._environ, collectors=self._collectors)
        return changed

    def _named(self, values: Mapping[str, str]) -> dict[str, str]:
        return {setting_name(self._server, part): value for part, value in values.items()}

    def _is_in(self, name: str, path: Path) -> bool:
        given = given_at(self._given, name)
        return given is not None and given.source == str(path)

    def _owner(self) -> Path | None:
        """Return the data folder, which belongs to the agent's user; None if there is none."""
        data_dir = self.settings.data_dir
        return data_dir if data_dir.exists() else None
