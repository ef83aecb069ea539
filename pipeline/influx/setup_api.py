"""A server made ready: its first user, the organisation, and a token of the least scope.

All of it raises an InfluxError where the server does not answer, or does not allow it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from threading import Event
from typing import Any

from pipeline.clock import Clock
from pipeline.influx.answer import InfluxError
from pipeline.influx.buckets import Rule, Wanted, look
from pipeline.influx.client import Api, required
from pipeline.influx.connection import NOTHING, Connection
from pipeline.influx.writeonly import raise_if_write_only
from pipeline.settings import Settings

PAGE = 100
"""How many organisations are asked for at a time, which is as many as InfluxDB allows."""
LOCK = "metrics-pipeline setup is under way"
_LABELS = "/api/v2/labels"
_KILLED_AFTER_S, _LOOK_AGAIN_S = 60.0, 0.5


class NotInfluxDB2Error(Exception):
    """The server answers, but not as InfluxDB 2; its text says what it is, as far as known."""


def is_new(connection: Connection) -> bool:
    """Tell whether a server waits for its first user.

    Raises:
        InfluxError: The server did not answer.
        WriteOnlyError: It takes readings, and there is nothing to set up.
        NotInfluxDB2Error: It is something else.
    """
    try:
        return connection.ask(lambda api: bool(required(api.setup.get_setup().allowed)))
    except InfluxError as error:
        answer = error.answer
        if answer.status is None or answer.status >= 500:
            raise
        raise_if_write_only(connection, error)
        as_what = f", as InfluxDB {answer.version}" if answer.version else ""
        raise NotInfluxDB2Error(f"{answer.message}{as_what}") from error


def onboard(connection: Connection, user: str, password: str) -> str:
    """Make a new server's first user, its organisation and bucket; return the operator's token."""
    settings = connection.settings
    wanted = {
        "username": user,
        "password": password,
        "org": settings.influxdb_org,
        "bucket": settings.influxdb_bucket,
        "retentionPeriodSeconds": Wanted.of(settings).age_s,
    }

    def post(api: Api) -> str:
        # The client's models would reject an answer of an odd bucket, and with it lose the token.
        answer, _, _ = api.request("POST", "/api/v2/setup", wanted)
        return str(answer["auth"]["token"])

    return connection.ask(post, password)


def organisations(connection: Connection) -> dict[str, str]:
    """Return the id of each organisation that can be seen, by its name."""
    found: dict[str, str] = {}

    def page(api: Api) -> dict[str, str]:
        orgs = api.organizations.get_orgs(limit=PAGE, offset=len(found)).orgs
        return {required(org.name): required(org.id) for org in orgs}

    before = -1
    while len(found) > before:  # a page without anything new is the last one
        before = len(found)
        found |= connection.ask(page)
    return found


def make_organisation(connection: Connection, name: str) -> str:
    """Make an organisation and return its id; that of one that was made meanwhile, too."""
    try:
        return connection.ask(
            lambda api: str(required(api.organizations.post_orgs({"name": name}).id))
        )
    except InfluxError as error:
        if error.answer.status != 422 or name not in (there := organisations(connection)):
            raise
        return there[name]


@contextmanager
def alone(
    connection: Connection, org_id: str, clock: Clock, tell: Callable[[str], object]
) -> Iterator[None]:
    """Keep other setups of an organisation waiting, and wait for one that is under way.

    Two at once would each find that nothing is there, and make it twice. A label is the lock, since
    InfluxDB refuses a second one of a name. One that stays for a minute is of a setup that was
    killed, and is removed. Where labels are not allowed, nothing is locked.
    """
    holder: str | None = None
    since = clock.monotonic()
    while (own := _lock(connection, org_id)) == "":
        now = _labels(connection, org_id).get(LOCK, "")
        if holder is None:
            tell("Another setup of this organisation is under way: waiting for it")
        if now != holder:
            holder, since = now, clock.monotonic()
        elif clock.monotonic() - since >= _KILLED_AFTER_S:
            _unlock(connection, holder)
        else:
            clock.wait(Event(), _LOOK_AGAIN_S)
    try:
        yield
    finally:
        if own is not None:
            _unlock(connection, own)


def _lock(connection: Connection, org_id: str) -> str | None:
    """Make the label; return its id, "" where there is one, None where that is not allowed."""
    label = {"orgID": org_id, "name": LOCK}
    try:
        return connection.ask(
            lambda api: str(api.request("POST", _LABELS, label)[0]["label"]["id"])
        )
    except InfluxError as error:
        if error.answer.status in (401, 403):
            return None
        if error.answer.status != 422:
            raise
        return ""


def _unlock(connection: Connection, label_id: str) -> None:
    with suppress(InfluxError):  # another setup removes it
        connection.ask(lambda api: api.request("DELETE", f"{_LABELS}/{label_id}"))


def _labels(connection: Connection, org_id: str) -> dict[str, str]:
    def read(api: Api) -> dict[str, str]:
        found, _, _ = api.request("GET", _LABELS, query={"orgID": org_id})
        return {str(label["name"]): str(label["id"]) for label in found["labels"]}

    return connection.ask(read)


def access(settings: Settings, clock: Clock) -> Rule | str:
    """Look what the configured token can do with the configured bucket; change nothing.

    Returns:
        The bucket's rule where an agent can work with the token; else why it cannot.
    """
    with closing(Connection(settings, clock)) as connection:
        try:
            rule = look(connection)
        except InfluxError as error:
            if error.answer.status not in (401, 403):
                raise
            return str(error)
        answer = connection.write(NOTHING)
    if answer.status != 204:
        return answer.message
    return rule or f"bucket {settings.influxdb_bucket!r} cannot be seen with it"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    description: str
    status: str
    scope: set[tuple[str, str, str]]

    @classmethod
    def of(cls, found: Any) -> "_Token":
        scope = {
            (required(one.action), required(one.resource.type), one.resource.id or "")
            for one in found.permissions
        }
        # Not all may see a token's text.
        return cls(found.token or "", required(found.description), required(found.status), scope)


class Tokens:
    """The tokens of a server, as far as they can be seen.

    Args:
        connection: May read and write authorizations.
        org_id: The organisation of the bucket.
        buckets: Names of those that an agent's token may read and write: it writes points, and
            finds, counts and deletes those that are too old. That also allows what
            `bucket_retention` asks for.
        tasks: Whether it may read and write tasks, too; and nothing else.
    """

    def __init__(
        self, connection: Connection, org_id: str, buckets: Iterable[str], *, tasks: bool
    ) -> None:
        self._connection = connection
        self._org_id = org_id
        self._buckets = tuple(buckets)
        things = [("buckets", _bucket_id(connection, org_id, name)) for name in self._buckets]
        things += [("tasks", "")] if tasks else []
        self._scope = {(action, *thing) for action in ("read", "write") for thing in things}
        self._all = connection.ask(
            lambda api: list(map(_Token.of, api.authorizations.get_authorizations().authorizations))
        )

    def has_other_scope(self, token: str) -> bool:
        """Tell whether a token is known to be allowed more or less than an agent needs."""
        return any(own.text == token and own.scope != self._scope for own in self._all)

    def find_or_create(self, name: str) -> tuple[str, str, bool]:
        """Return the agent's token of a name, its own name, and whether it was created.

        One that has the name but another scope may be in use, and stays: this one's name then has
        the buckets, too.
        """
        longer = f"{name} ({', '.join(self._buckets)})"
        for own in self._all:  # a run may have failed
            is_named = own.description == name or own.description.startswith(f"{name} (")
            if is_named and (own.status, own.scope) == ("active", self._scope) and own.text:
                return own.text, own.description, False
        taken = {own.description for own in self._all}
        names = chain((name, longer), (f"{longer} {number}" for number in count(2)))
        free = next(one for one in names if one not in taken)
        permissions = [
            {
                "action": action,
                "resource": {"type": kind, "orgID": self._org_id} | ({"id": id_} if id_ else {}),
            }
            for action, kind, id_ in sorted(self._scope)
        ]
        wanted = {"orgID": self._org_id, "description": free, "permissions": permissions}
        made = self._connection.ask(
            lambda api: str(required(api.authorizations.post_authorizations(wanted).token))
        )
        return made, free, True


def _bucket_id(connection: Connection, org_id: str, name: str) -> str:
    def read(api: Api) -> str:
        return str(required(api.buckets.get_buckets(org_id=org_id, name=name).buckets[0].id))

    return connection.ask(read)
