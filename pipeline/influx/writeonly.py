"""Servers that have nothing of InfluxDB 2 but writes, such as VictoriaMetrics."""

import dataclasses

from pipeline.influx.answer import InfluxError
from pipeline.influx.connection import NOTHING, Connection

# What a server answers to a path that it does not know, or knows by other methods only; a page or a
# redirect counts too. A 204 does not: a server that says that to everything may store nothing.
_UNKNOWN = (400, 404, 405, 501)


class WriteOnlyError(InfluxError):
    """The server takes readings, and has no buckets, no queries and no deletion."""


def raise_if_write_only(connection: Connection, error: InfluxError) -> None:
    """Raise, after a request that failed, if its server has nothing of InfluxDB 2 but writes.

    A proxy in front of InfluxDB that lets only writes through looks the same, so ask again later.

    Raises:
        WriteOnlyError: The path is unknown, not by InfluxDB's own word, and an empty write passes.
    """
    answer = error.answer
    unknown = answer.status in _UNKNOWN or (answer.claims_success and answer.status != 204)
    if not unknown or answer.code or answer.version.lstrip("v").startswith("2."):
        return
    if connection.write(NOTHING).status != 204:
        return
    message = (
        f"{connection.settings.influxdb_url} takes readings and has nothing else of InfluxDB 2 "
        f"(asked for more it answers {answer.status}): the agent deletes nothing there, "
        "so set the age in the server itself, such as by -retentionPeriod of VictoriaMetrics"
    )
    raise WriteOnlyError(dataclasses.replace(answer, message=message)) from error
