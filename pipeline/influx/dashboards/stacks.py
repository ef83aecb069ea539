"""Templates applied once: InfluxDB copies one that has no stack, so each stack has a known name.

A stack remembers in its description which version of the template it was made of. So what a user
has changed since, such as a threshold, stays until the template itself changes. Every function
raises an InfluxError where the server does not answer, or does not allow it.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline.influx.answer import InfluxError
from pipeline.influx.client import Api, known
from pipeline.influx.connection import Connection

_API = "/api/v2/"

Resources = list[dict[str, Any]]


def apply_once(
    connection: Connection, org_id: str, name: str, resources: Resources, version: Resources
) -> bool:
    """Make a template's resources be there as they are; return whether anything was done.

    Two versions differ when `version` does: the template without what two set-ups may choose.
    """
    text = json.dumps(version, sort_keys=True).encode()
    about = f"Template {hashlib.sha256(text).hexdigest()[:16]} of metrics-pipeline"
    stack = _find(connection, org_id, name)
    if stack is None:
        wanted = {"orgID": org_id, "name": name, "description": ""}
        stack_id = connection.ask(
            lambda api: str(known(api.templates.create_stack(post_stack_request=wanted).id))
        )
    elif stack.description == about and _is_whole(connection, stack, resources):
        return False
    else:
        stack_id = stack.id
    template = {"orgID": org_id, "stackID": stack_id, "template": {"contents": resources}}
    # The client's models reject the checks that the answer tells of.
    connection.ask(lambda api: api.request("POST", "/api/v2/templates/apply", template))
    described = {"name": name, "description": about}
    connection.ask(
        lambda api: known(api.templates.update_stack(stack_id, patch_stack_request=described).id)
    )
    return True


def ids(connection: Connection, org_id: str, name: str) -> dict[str, str]:
    """Return the id of each resource of a stack, by its name in the template."""
    stack = _find(connection, org_id, name)
    return stack.resources if stack else {}


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack, with the id of each resource by its name in the template, and their paths."""

    made: str
    id: str
    description: str
    resources: dict[str, str]
    paths: list[str]

    @classmethod
    def of(cls, found: Any) -> "_Stack":
        resources = found["resources"]
        return cls(
            str(found["createdAt"]),
            str(found["id"]),
            str(found["description"]),
            {str(one["templateMetaName"]): str(one["resourceID"]) for one in resources},
            # Never more than a path: what it is joined to is the address.
            [_API + str(one["links"]["self"]).removeprefix(_API) for one in resources],
        )


def _find(connection: Connection, org_id: str, name: str) -> _Stack | None:
    query = {"orgID": org_id, "name": name}

    def read(api: Api) -> _Stack | None:
        # The client's model drops the name, the description and the resources.
        answer, _, _ = api.request("GET", "/api/v2/stacks", query=query)
        return min(map(_Stack.of, answer["stacks"]), key=lambda stack: stack.made, default=None)

    return connection.ask(read)


def _is_whole(connection: Connection, stack: _Stack, resources: Resources) -> bool:
    """Tell whether nothing of a stack was deleted since; the server itself does not say."""
    return len(stack.paths) == len(resources) and all(
        _is_there(connection, path) for path in stack.paths
    )


def _is_there(connection: Connection, path: str) -> bool:
    try:
        connection.ask(lambda api: api.request("GET", path))
    except InfluxError as error:
        if error.answer.status != 404:
            raise
        return False
    return True
