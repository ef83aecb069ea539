"""Dashboards, variables and checks, and how they are installed in InfluxDB."""

from dataclasses import dataclass

from pipeline.influx.connection import Connection
from pipeline.influx.dashboards import stacks, template

_STACK = "metrics-pipeline"
_FIRST = "metrics-all-hosts"


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done.

    Attributes:
        dashboards: Whether the dashboards were made or changed.
        checks: Whether the checks of the bucket were.
        first: The id of the dashboard to begin with.
    """

    dashboards: bool
    checks: bool
    first: str


def install(connection: Connection, org_id: str, bucket: str) -> Installed:
    """Make the dashboards and a bucket's checks be there, as this version has them.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    # Two set-ups may choose another bucket at first: that is no other version.
    version = template.dashboards("")
    boards = stacks.apply_once(connection, org_id, _STACK, template.dashboards(bucket), version)
    rules = template.checks(bucket)
    checks = stacks.apply_once(connection, org_id, f"{_STACK} checks of {bucket}", rules, rules)
    first = stacks.ids(connection, org_id, _STACK).get(_FIRST, "")
    return Installed(boards, checks, first)
