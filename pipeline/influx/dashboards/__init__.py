"""Dashboards, variables and checks, and how they are installed in InfluxDB."""

from dataclasses import dataclass

from pipeline.influx.connection import Connection
from pipeline.influx.dashboards import stacks, template
from pipeline.influx.dashboards.agents import AGENTS
from pipeline.influx.dashboards.all_hosts import ALL_HOSTS
from pipeline.influx.dashboards.one_host import ONE_HOST


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done.

    Attributes:
        dashboards: Whether the dashboards were made or changed.
        checks: Whether the checks of the bucket were.
        first: The address of the dashboard to begin with.
    """

    dashboards: bool
    checks: bool
    first: str


def install(connection: Connection, org_id: str, bucket: str) -> Installed:
    """Make the dashboards and a bucket's checks be there, as this version has them.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    there = stacks.Stacks(connection, org_id)
    # Former versions had one stack for all dashboards, and one for all checks of a bucket.
    there.remove("metrics-pipeline")
    there.remove(f"metrics-pipeline checks of {bucket}")

    def address(board: stacks.Applied) -> str:
        url = connection.settings.influxdb_url.rstrip("/")
        return f"{url}/orgs/{org_id}/dashboards/{board.id}"

    variables = [there.apply_once(one) for one in template.variables(bucket)]
    host = there.apply_once(template.dashboard(ONE_HOST))
    first = there.apply_once(template.dashboard(ALL_HOSTS, address(host)))
    boards = [*variables, host, first, there.apply_once(template.dashboard(AGENTS))]
    there.relink(first, host)  # which has a new address where it had been deleted
    checks = [there.apply_once(one) for one in template.checks(bucket)]
    return Installed(
        any(one.changed for one in boards), any(one.changed for one in checks), address(first)
    )
