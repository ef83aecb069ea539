"""Templates applied once: InfluxDB copies one that has no stack, so each stack has a known name.

A stack remembers in its description which version of the template it was made of. So what a user
has changed since, such as a threshold, stays until the template itself changes.
"""

import hashlib
import json
from typing import Any

from pipeline.influx.api import call
from pipeline.influx.connection import Connection, InfluxError

Resources = list[dict[str, Any]]


def keep(
    connection: Connection, org_id: str, name: str, resources: Resources, version: Resources
) -> bool:
    """Make a template's resources be there, as they are in this version.

    Args:
        connection: May write dashboards, variables, checks and stacks.
        org_id: The organisation.
        name: The stack's name.
        resources: The template.
        version: What is compared of it: the same without what may differ between two set-ups.

    Returns:
        Whether anything was done.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    text = json.dumps(version, sort_keys=True).encode()
    about = f"Template {hashlib.sha256(text).hexdigest()[:16]} of metrics-pipeline"
    stack = _find(connection, org_id, name)
    if stack is None:
        wanted = {"orgID": org_id, "name": name, "description": ""}
        stack = call(connection, "POST", "stacks", wanted)
    elif stack["description"] == about and _is_whole(connection, stack, resources):
        return False
    template = {"orgID": org_id, "stackID": stack["id"], "template": {"contents": resources}}
    call(connection, "POST", "templates/apply", template)
    call(connection, "PATCH", f"stacks/{stack['id']}", {"name": name, "description": about})
    return True


def ids(connection: Connection, org_id: str, name: str) -> dict[str, str]:
    """Return the id of each resource of a stack, by its name in the template.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    stack = _find(connection, org_id, name)
    found = stack["resources"] if stack else []
    return {resource["templateMetaName"]: resource["resourceID"] for resource in found}


def _find(connection: Connection, org_id: str, name: str) -> dict[str, Any] | None:
    found = call(connection, "GET", "stacks", orgID=org_id, name=name)["stacks"]
    return min(found, key=lambda stack: stack["createdAt"], default=None)


def _is_whole(connection: Connection, stack: dict[str, Any], resources: Resources) -> bool:
    """Tell whether nothing of a stack was deleted since; the server itself does not say."""
    if len(stack["resources"]) != len(resources):
        return False
    for resource in stack["resources"]:
        try:
            call(connection, "GET", resource["links"]["self"].removeprefix("/api/v2/"))
        except InfluxError as error:
            if error.answer.status != 404:
                raise
            return False
    return True
