"""Templates applied once: InfluxDB copies one that has no stack, so each stack has a known name.

A stack holds one resource: a second run applies a template again where its resource was deleted,
and would set the others of the stack back. It remembers in its description which version it was
made of. So what a user has changed since, such as a threshold, stays until the template itself
changes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from pipeline.influx.answer import InfluxError
from pipeline.influx.connection import Connection

_API = "/api/v2/"
_LINKED = r"/dashboards/\w+(?=\?vars)"

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A dashboard, a variable or a check.

    Attributes:
        name: Its name, which is in its stack's name.
        template: The resource of a template.
        rest: What a template cannot carry, of a check, or of a dashboard's cells by their title.
        version: What decides whether it is another version; empty for the template and the rest.
            It leaves out what two set-ups may choose each for itself.
    """

    name: str
    template: Json
    rest: Json = field(default_factory=lambda: MappingProxyType({}))
    version: Json = field(default_factory=lambda: MappingProxyType({}))

    @property
    def about(self) -> str:
        """What a stack says that has this version."""
        version = dict(self.version) or [dict(self.template), dict(self.rest)]
        text = json.dumps(version, sort_keys=True).encode()
        return f"Template {hashlib.sha256(text).hexdigest()[:16]} of metrics-pipeline"


@dataclass(frozen=True, slots=True)
class Applied:
    """A resource that is there: its path, and whether anything was done for that."""

    path: str
    changed: bool

    @property
    def id(self) -> str:
        """Its id."""
        return self.path.rpartition("/")[2]


class Stacks:
    """The stacks of an organisation; each method raises an InfluxError as `Connection.ask` does."""

    def __init__(self, connection: Connection, org_id: str) -> None:
        self._connection, self._org_id = connection, org_id

    def apply_once(self, resource: Resource) -> Applied:
        """Make a resource be there as it is; what was interrupted is done again."""
        name = f"metrics-pipeline: {resource.name}"
        stack = self._find(name)
        if stack and stack.description == resource.about and self._is_there(stack):
            return Applied(stack.paths[0], changed=False)
        wanted = {"orgID": self._org_id, "name": name}
        stack_id = stack.id if stack else self._ask("POST", "stacks", lambda it: it["id"], wanted)

        def describe(about: str) -> None:
            described = {"name": name, "description": about}
            self._ask("PATCH", f"stacks/{stack_id}", lambda it: it["id"], described)

        describe("")  # until all is done
        template = {"contents": [resource.template]}
        applied = {"orgID": self._org_id, "stackID": stack_id, "template": template}
        self._ask("POST", "templates/apply", _nothing, applied)
        path = self._ask("GET", f"stacks/{stack_id}", lambda it: _Stack.of(it).paths[0])
        self._complete(path, resource.rest)
        describe(resource.about)
        return Applied(path, changed=True)

    def remove(self, name: str) -> None:
        """Remove a stack, if it is there, with all that it holds."""
        if stack := self._find(name):
            query = {"orgID": self._org_id}
            self._ask("DELETE", f"stacks/{stack.id}", _nothing, query=query)

    def relink(self, board: Applied, target: Applied) -> None:
        """Let a dashboard's links to another one lead to where that is now."""

        def linked(cell: Json) -> Json:
            text = json.dumps(cell["properties"])
            right: Json = json.loads(re.sub(_LINKED, f"/dashboards/{target.id}", text))
            return right

        self._change_cells(board.path, linked)

    def _complete(self, path: str, rest: Json) -> None:
        """Add what a template cannot carry."""
        if path.startswith(f"{_API}dashboards/"):
            self._change_cells(path, lambda cell: rest[cell["name"]])
        elif rest:
            self._ask("PUT", path, _nothing, self._ask("GET", path, lambda it: _merged(it, rest)))

    def _change_cells(self, path: str, properties: Callable[[Json], Json]) -> None:
        """Let each cell of a dashboard have the properties that are made of what it has."""

        def read(board: Json) -> list[tuple[str, Json]]:
            views = [(cell, properties(cell)) for cell in board["cells"]]
            return [
                (str(cell["links"]["view"]), wanted)
                for cell, wanted in views
                if wanted != cell["properties"]
            ]

        for view, wanted in self._ask("GET", path, read, query={"include": "properties"}):
            self._ask("PATCH", view, _nothing, {"properties": wanted})

    def _find(self, name: str) -> "_Stack | None":
        def read(found: Json) -> _Stack | None:
            return min(map(_Stack.of, found["stacks"]), key=lambda stack: stack.made, default=None)

        return self._ask("GET", "stacks", read, query={"orgID": self._org_id, "name": name})

    def _is_there(self, stack: "_Stack") -> bool:
        """Tell whether what a stack holds was not deleted since; the server itself does not say."""
        try:
            for path in stack.paths:
                self._ask("GET", path, _nothing)
        except InfluxError as error:
            if error.answer.status != 404:
                raise
            return False
        return bool(stack.paths)

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """Make a request: influxdb-client's models drop or reject much of what is answered here."""
        # Never more than a path, whatever the server says: what it is joined to is the address.
        below = _API + path.removeprefix(_API)
        return self._connection.ask(lambda api: read(api.request(method, below, body, query)[0]))


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack, and the paths of its resources."""

    made: str
    id: str
    description: str
    paths: tuple[str, ...]

    @classmethod
    def of(cls, found: Json) -> "_Stack":
        paths = tuple(str(one["links"]["self"]) for one in found["resources"])
        return cls(str(found["createdAt"]), str(found["id"]), str(found["description"]), paths)


def _merged(found: Json, more: Json) -> dict[str, Any]:
    inner = {
        name: _merged(found[name], value) if isinstance(value, Mapping) else value
        for name, value in more.items()
    }
    return {**found, **inner}


def _nothing(_: Any) -> None:
    """Read nothing of an answer, which is an object of JSON all the same."""
