"""The settings files as `setup` finds and leaves them: they may yet be incomplete."""

from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.settings.edit import edit, ensure_writable
from pipeline.settings.load import SettingsError, load, read_all
from pipeline.settings.sources import PLAIN, PREFIX, SECRETS, variable_source


class SettingsFiles:
    """settings.toml and .secrets.toml of a folder, and what wins over them.

    Args:
        config_dir: Their folder; neither it nor they need exist.
        environ: The environment.
        collectors: The names that [collectors.<name>] tables may have.

    Attributes:
        settings: As they are now, without influxdb_url, which may be one that is to be replaced.
        url: influxdb_url as it is now; "" when there is none.
        changeable: What of the files another user could have changed.

    Raises:
        SettingsError: They cannot be used.
    """

    def __init__(
        self, config_dir: Path, environ: Mapping[str, str], collectors: Collection[str]
    ) -> None:
        self._dir, self._environ, self._collectors = config_dir, environ, collectors
        found = load(config_dir, environ, collectors=collectors, complete=False)
        self.settings, self.changeable = found.settings, found.changeable
        self._given = read_all(config_dir, environ)[0]
        url = self._given.get("influxdb_url")
        self.url = str(url.value) if url else ""

    def check(self, values: Mapping[str, str]) -> None:
        """Make sure that values, by name, can be written, and will then be what counts.

        Raises:
            SettingsError: A source that wins says otherwise, or a file cannot be written.
        """
        written = [str(self._dir / name) for name in (PLAIN, SECRETS)]
        for name, value in values.items():
            given = self._given.get(name)
            if given and given.source not in written and given.value != value:
                variable = given.source == variable_source(f"{PREFIX}{name.upper()}")
                fix = "unset it" if variable else "take it out there"
                raise SettingsError(
                    [f"{given.source} gives {name} another value than setup would: {fix}"]
                )
        second = self.settings.downsample.bucket
        if second and second == values.get("influxdb_bucket"):
            raise SettingsError(["downsample.bucket must be another bucket than influxdb_bucket"])
        for path in map(Path, written):
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

    def write(self, values: Mapping[str, str]) -> list[Path]:
        """Write values where they are given now, else where they belong.

        Returns:
            The files that were changed.

        Raises:
            OSError: A file cannot be written.
            SettingsError: What was written does not count, or cannot be used.
        """
        plain, secret = self._dir / PLAIN, self._dir / SECRETS
        hidden = {name for name in values if self._is_in(name, secret) or name.endswith("_token")}
        changed = []
        # The token first: a URL without one is an error for whoever reads the files meanwhile.
        some = {name: value for name, value in values.items() if name in hidden}
        if edit(secret, some, secret=True, owner=self._owner()):
            changed.append(secret)
        rest = {name: value for name, value in values.items() if name not in hidden}
        if edit(plain, rest):
            changed.append(plain)
        load(self._dir, self._environ, collectors=self._collectors)
        return changed

    def _is_in(self, name: str, path: Path) -> bool:
        given = self._given.get(name)
        return given is not None and given.source == str(path)

    def _owner(self) -> Path | None:
        """Return the folder of the data, which belongs to whom the agent runs as."""
        data_dir = self.settings.data_dir
        return data_dir if data_dir.exists() else None
