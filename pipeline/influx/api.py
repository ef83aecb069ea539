"""The parts of InfluxDB's HTTP API that provisioning needs, in plain JSON."""

from typing import Any

from pipeline.influx.connection import Connection


def call(
    connection: Connection,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    **query: str,
) -> Any:
    """Make a request and return the JSON that it answers; None when there is none.

    Args:
        connection: As whom to ask, and where.
        method: The HTTP method.
        path: The path below /api/v2/.
        body: Sent as JSON.
        query: The parameters of the address.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    return connection.ask(
        lambda client: client.api_client.call_api(
            f"/api/v2/{path}",
            method,
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            response_type="object",
            _return_http_data_only=True,
        )
    )
