"""Servers that take readings as InfluxDB does and have nothing else of it: VictoriaMetrics."""

import dataclasses

from pipeline.influx.answer import InfluxError
from pipeline.influx.connection import NOTHING, Connection

# What a server answers to a path that it does not know, or has for other methods alone, beside a
# page or the way to one. What has only a 204 for it has that for all, and may take nothing.
_UNKNOWN = (400, 404, 405, 501)


class WriteOnlyError(InfluxError):
    """The server has no buckets, no queries and no deletion, and takes readings all the same."""


def raise_if_write_only(connection: Connection, error: InfluxError) -> None:
    """Find out whether a failed look at an API of InfluxDB 2 comes from there being none.

    A proxy that lets no write pass either is not taken for such a server, and one that does may be:
    so this is to be asked again.

    Raises:
        WriteOnlyError: It is not InfluxDB itself that does not know the path, and a write of
            nothing passes at this moment.
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
