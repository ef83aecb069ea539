"""What tests do to a server, independent of the code under test."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.influxd import annotated
from tests.influxd.http import call
from tests.influxd.server import InfluxServer


@dataclass(frozen=True)
class Bucket:
    """A bucket that exists on a server."""

    server: InfluxServer
    name: str
    id: str


@functools.cache
def org_id(server: InfluxServer) -> str:
    """Returns the id of the server's organisation."""
    query = urlencode({"org": server.org})
    answer = server.call("GET", f"/api/v2/orgs?{query}").expect(200)
    return str(answer.json()["orgs"][0]["id"])


def create_bucket(server: InfluxServer, name: str, retention_seconds: int = 0) -> Bucket:
    """Makes a bucket; a retention of 0 is forever."""
    rules = [{"type": "expire", "everySeconds": retention_seconds}]
    wanted = {"orgID": org_id(server), "name": name, "retentionRules": rules}
    answer = server.call("POST", "/api/v2/buckets", wanted).expect(201)
    return Bucket(server, name, answer.json()["id"])


def get_bucket(server: InfluxServer, name: str) -> dict[str, Any] | None:
    """Returns the bucket as the server describes it, None if there is none."""
    query = urlencode({"orgID": org_id(server), "name": name})
    answer = server.call("GET", f"/api/v2/buckets?{query}").expect(200, 404)
    found: list[dict[str, Any]] = answer.json().get("buckets", [])
    return found[0] if found else None


def age_s(server: InfluxServer, name: str) -> int:
    """Returns how long the bucket keeps its points; 0 is for ever."""
    found = get_bucket(server, name)
    assert found is not None
    return int(found["retentionRules"][0]["everySeconds"])


def set_age(bucket: Bucket, hours: int, shard_hours: int = 1) -> None:
    """Sets how long the bucket keeps its points, and the span of its shard groups."""
    seconds = {"everySeconds": hours * 3600, "shardGroupDurationSeconds": shard_hours * 3600}
    rules = {"retentionRules": [{"type": "expire", **seconds}]}
    bucket.server.call("PATCH", f"/api/v2/buckets/{bucket.id}", rules).expect(200)


def tasks(bucket: Bucket) -> list[dict[str, Any]]:
    """Returns the tasks that have to do with the bucket."""
    found = bucket.server.call("GET", "/api/v2/tasks?limit=500").expect(200).json()["tasks"]
    return [task for task in found if bucket.name in task["flux"]]


def delete_bucket(server: InfluxServer, name: str) -> None:
    """Removes a bucket, if it is there, and the tokens that `create_token` made for it."""
    if bucket := get_bucket(server, name):
        server.call("DELETE", f"/api/v2/buckets/{bucket['id']}").expect(204)
        for token in _tokens(server, bucket["id"]):
            server.call("DELETE", f"/api/v2/authorizations/{token['id']}").expect(204)


def _tokens(server: InfluxServer, bucket_id: str) -> list[dict[str, Any]]:
    answer = server.call("GET", "/api/v2/authorizations").expect(200)
    return [
        token
        for token in answer.json()["authorizations"]
        if token["description"] == _description(bucket_id)
    ]


def _description(bucket_id: str) -> str:
    return f"test of bucket {bucket_id}"


def create_token(bucket: Bucket, permissions: Iterable[str] = ("read", "write")) -> str:
    """Makes a token for one bucket and nothing else.

    Args:
        bucket: The bucket; the token goes with it.
        permissions: What the token may do: `read`, `write` or both.
    """
    resource = {"type": "buckets", "id": bucket.id, "orgID": org_id(bucket.server)}
    wanted = {
        "orgID": org_id(bucket.server),
        "description": _description(bucket.id),
        "permissions": [{"action": action, "resource": resource} for action in permissions],
    }
    answer = bucket.server.call("POST", "/api/v2/authorizations", wanted).expect(201)
    return str(answer.json()["token"])


def query(server: InfluxServer, flux: str, now_ns: int | None = None) -> list[dict[str, object]]:
    """Runs a Flux query and returns its rows, typed; see `tests.influxd.annotated.parse`.

    Args:
        server: The server.
        flux: The query.
        now_ns: What `now()` is in it, to the second; else the server's own time.

    Raises:
        RefusedError: The server refused the query.
        QueryError: The query failed midway.
    """
    dialect = {"annotations": ["datatype", "group", "default"], "header": True}
    wanted: dict[str, object] = {"query": flux, "type": "flux", "dialect": dialect}
    if now_ns is not None:
        wanted["now"] = datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()
    parameters = urlencode({"org": server.org})
    answer = server.call("POST", f"/api/v2/query?{parameters}", wanted).expect(200)
    return annotated.parse(answer.body.decode())


def rows(bucket: Bucket, rest: str = "") -> list[dict[str, object]]:
    """Returns all that is in the bucket, through the rest of a query where there is one."""
    return query(bucket.server, f'from(bucket: "{bucket.name}") |> range(start: 0){rest}')


def write(server: InfluxServer, bucket: str, lines: bytes) -> tuple[int, str]:
    """Writes line protocol in nanoseconds; returns the status and the body of the answer."""
    parameters = urlencode({"org": server.org, "bucket": bucket, "precision": "ns"})
    url = f"{server.url}/api/v2/write?{parameters}"
    answer = call("POST", url, lines, token=server.token)
    return answer.status, answer.body.decode()


def put(bucket: Bucket, *lines: str) -> None:
    """Writes lines that the server has to take."""
    body = "\n".join(lines).encode()
    assert write(bucket.server, bucket.name, body) == (204, "")
