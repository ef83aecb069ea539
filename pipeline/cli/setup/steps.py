"""The steps of `setup`; what is right already is left alone."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import click

from pipeline.clock import Clock
from pipeline.influx import (
    Connection,
    InfluxError,
    Rule,
    Wanted,
    WriteOnlyError,
    dashboards,
    describe,
    is_org_id,
    reconcile,
    setup_api,
)
from pipeline.settings import MAIN, NEEDED, Settings, SettingsFiles, setting_name, variable

_DEFAULT = "metrics"
_CREDENTIALS = (
    "an operator's token by --token-stdin or INFLUX_TOKEN, or a user's password by --password-stdin"
)


class SetupError(click.ClickException):
    """Setup cannot go on; the sentence says why, and what to do."""


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """The options of `setup`; "" leaves one to the settings, the server or a default.

    Attributes:
        url: The server.
        org: The organisation.
        bucket: The bucket.
        user: The first user of a new server, or the one that `password` belongs to.
        password: The user's password; without one, a new server gets a random one.
        token: An operator's token, for a server that is set up already.
        ask: Asks the user for a secret; None when nobody can answer.
        server: What it is for: the main server, or a mirror.
    """

    url: str
    org: str = ""
    bucket: str = ""
    user: str = "admin"
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ask: Callable[[str], str] | None = None
    server: str = MAIN


class Setup:
    """One run of `setup`.

    Args:
        files: The settings as they are, for the server of the options.
        options: The options.
        clock: Passed to connections.
        tell: Prints a line when a step is done.
    """

    def __init__(
        self,
        files: SettingsFiles,
        options: SetupOptions,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._files, self._options, self._clock, self._tell = files, options, clock, tell
        now = files.settings
        # The token of one server is never sent to another.
        known = files.url.rstrip("/") == options.url.rstrip("/")
        self._settings = replace(
            now,
            influxdb_url=files.url if known else options.url,
            influxdb_org=options.org or now.influxdb_org,
            influxdb_bucket=options.bucket or now.influxdb_bucket or _DEFAULT,
            influxdb_token=now.influxdb_token if known else "",
        )
        self._login = (
            (options.user, options.password) if options.password and not options.token else ("", "")
        )

    def run(self) -> None:
        """Run all steps. After a failure it can be run again and continues from there.

        Raises:
            SetupError: A step failed.
            SettingsError: The settings cannot be used or written.
            OSError: The settings cannot be written.
        """
        options = self._options
        try:
            if self._is_new():
                self._provision(self._onboard())
            elif options.token or options.password:
                self._provision(options.token)
            elif refusal := self._verify():
                if options.ask is None:
                    raise SetupError(f"{refusal}: give {_CREDENTIALS}")
                self._provision(options.ask(f"{refusal}. An operator's token"))
        except InfluxError as error:
            raise SetupError(_advice(error, options.server)) from error

    def _bare(self) -> closing[Connection]:
        return closing(Connection(replace(self._settings, influxdb_token=""), self._clock))

    def _connect(self, settings: Settings, token: str) -> closing[Connection]:
        login = ("", "") if token else self._login
        mine = replace(settings, influxdb_token=token)
        return closing(Connection(mine, self._clock, login=login))

    def _is_new(self) -> bool:
        with self._bare() as connection:
            try:
                return setup_api.is_new(connection)
            except setup_api.NotInfluxDB2Error as error:
                raise SetupError(
                    f"{error}: give the address of an InfluxDB 2, such as http://localhost:8086 "
                    "(as an image, influxdb:2.7)"
                ) from error

    def _onboard(self) -> str:
        """Make the first user of a new server; return the operator's token."""
        options = self._options
        org = self._settings.influxdb_org or _DEFAULT
        if is_org_id(org):
            raise SetupError(
                f"{org} is the id of an organisation, and a new server has none: "
                "give a name for it by --org"
            )
        self._settings = replace(self._settings, influxdb_org=org)
        self._files.check(self._values(self._settings))
        given = options.password
        if not given and options.ask:
            given = options.ask(f"A password for the user {options.user!r} (none: one is made up)")
        password = given or secrets.token_urlsafe(18)
        if not given:  # told before it is sent: the answer may be lost, and the user is made
            self._tell(f"User {options.user!r}: password {password} (it is not shown again)")
        with self._bare() as connection:
            token = setup_api.onboard(connection, options.user, password)
        self._tell(f"Server: set up, user {options.user!r}")
        return token

    def _verify(self) -> str:
        """Check whether the agent's own token suffices; return what is wrong, or ""."""
        settings = self._settings
        where = f"{settings.influxdb_url} is set up already"
        if not settings.influxdb_token or not settings.influxdb_org:
            return f"{where}, and the settings have no token for it"
        found = setup_api.access(settings, self._clock)
        if isinstance(found, str):
            return f"{where}, and the token of the settings does not do ({found})"
        self._tell(describe(found, settings))
        self._tell("Token: the one that is there may read and write the bucket")
        self._write(settings)
        self._tell("Dashboards and checks: not looked at, that takes an operator's --token-stdin")
        self._tell(f"Open {settings.influxdb_url}")
        return ""

    def _provision(self, operator: str) -> None:
        """Make all that is missing, as the operator."""
        with self._connect(self._settings, operator) as connection:
            name, org_id = self._organisation(connection)
        settings = replace(self._settings, influxdb_org=name)
        self._files.check(self._values(settings))
        with (
            self._connect(settings, operator) as connection,
            setup_api.alone(connection, org_id, self._clock, self._tell),
        ):
            wanted, means = Wanted.of(settings), settings.downsample
            self._tell(describe(self._bucket(connection, wanted), settings))
            if means.bucket:
                of_means = replace(wanted, bucket=means.bucket, hours=means.keep_hours)
                self._bucket(connection, of_means)
            settings = replace(settings, influxdb_token=self._token(connection, settings, org_id))
            self._write(settings)
            self._install_dashboards(connection, org_id)

    def _organisation(self, connection: Connection) -> tuple[str, str]:
        """Return what the settings are to have for the organisation, and its id; make it if new."""
        there = setup_api.organisations(connection)
        name = self._settings.influxdb_org or (next(iter(there)) if len(there) == 1 else "")
        if not name and there:
            raise SetupError(
                f"{self._settings.influxdb_url} has the organisations "
                f"{', '.join(sorted(there))}: say which by --org"
            )
        name = name or _DEFAULT
        if name in there:
            self._tell(f"Organisation {name!r}: is there")
            # InfluxDB would take such a name for an id.
            return there[name] if is_org_id(name) else name, there[name]
        if is_org_id(name):
            return name, self._known_by_id(name, there)
        try:
            made = setup_api.make_organisation(connection, name)
        except InfluxError as error:
            if error.answer.status not in (401, 403):
                raise
            raise SetupError(
                f"organisation {name!r} is not there, and cannot be made with this token "
                f"(there are {', '.join(sorted(there)) or 'none'}): give another name by --org, "
                "or an operator's token"
            ) from error
        self._tell(f"Organisation {name!r}: made")
        return name, made

    def _known_by_id(self, org_id: str, there: Mapping[str, str]) -> str:
        name = next((name for name, its in there.items() if its == org_id.lower()), None)
        if name is None:
            known = ", ".join(sorted(there)) or "none"
            raise SetupError(
                f"no organisation has the id {org_id} (there are {known}): "
                "give another one, or a name that is no id, by --org"
            )
        self._tell(f"Organisation {name!r}: is there")
        return there[name]

    def _bucket(self, connection: Connection, wanted: Wanted) -> Rule:
        if wanted.mode == "off":
            wanted = replace(wanted, mode="create")
        rule = reconcile(connection, wanted, self._clock.now_ns())
        if rule is None:
            raise SetupError(f"bucket {wanted.bucket!r} cannot be made or seen")
        return rule

    def _token(self, connection: Connection, settings: Settings, org_id: str) -> str:
        """Return the present token if it suffices, else the one named after this host."""
        buckets = [*filter(None, (settings.influxdb_bucket, settings.downsample.bucket))]
        downsamples = len(buckets) > 1
        tokens = setup_api.Tokens(connection, org_id, buckets, tasks=downsamples)
        keep = (present := settings.influxdb_token) and not tokens.has_other_scope(present)
        if keep and isinstance(setup_api.access(settings, self._clock), Rule):
            self._tell("Token: the one that is there may read and write the bucket")
            return present
        token, name, made = tokens.find_or_create(f"metrics-pipeline of {settings.host}")
        self._files.check({**self._values(settings), "token": token})
        may = " and ".join(f"bucket {name!r}" for name in buckets) + ", tasks," * downsamples
        told = f"{'made' if made else 'is there'}, may read and write {may} and nothing else"
        self._tell(f"Token {name!r}: {told}")
        return token

    def _install_dashboards(self, connection: Connection, org_id: str) -> None:
        done = dashboards.install(connection, org_id, connection.settings.influxdb_bucket)
        self._tell(f"Dashboards: {'made' if done.dashboards else 'are there'}")
        self._tell(f"Checks: {'made' if done.checks else 'are there'}")
        self._tell(f"Open {done.first}")

    @staticmethod
    def _values(settings: Settings) -> dict[str, str]:
        return {part: getattr(settings, f"influxdb_{part}") for part in ("url", "org", "bucket")}

    def _write(self, settings: Settings) -> None:
        token = settings.influxdb_token
        for path in self._files.write({**self._values(settings), "token": token}):
            self._tell(f"{path}: written")


def _advice(error: InfluxError, server: str) -> str:
    """Return the error of a server with what to do about it."""
    status, text = error.answer.status, str(error)
    if isinstance(error, WriteOnlyError):
        url, org, bucket, token = (setting_name(server, part) for part in NEEDED)
        return (
            f"there is nothing to set up: {text}; what is left is to write {url}, and any "
            f"words for {org}, {bucket} and {token}, into the settings"
        )
    if "certificate" in text.lower():
        name = setting_name(server, "ca_cert")
        return (
            f"{text}; if it is a certificate of your own, name its file by {name} "
            f"in settings.toml or {variable(name)}"
        )
    if status is None:
        return f"{text}; see that the address is right and the server runs, then run it again"
    if status in (401, 403):
        return f"{text}; give {_CREDENTIALS}; it must be of a user who may do that"
    return f"{text}; it can be run again"
