"""`rejected`, with the real agent and the real server, and while the agent is down."""

import pytest

from pipeline.clock import SystemClock
from pipeline.spool import Refusal, Spool
from tests.agents import running
from tests.cli.commands import Cli, Inside
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.spool.stores import leased
from tests.test_end_to_end import assert_account


def fill(cli: Cli, *lines: str) -> int:
    """Put a reading on the queue; return its time."""
    now = SystemClock().now_ns()
    cli.data_dir.mkdir(exist_ok=True)
    with Spool(cli.data_dir, 2**24) as spool:
        spool.append([f"{line} {now}" for line in lines], now)
    return now


def refuse(cli: Cli, count: int) -> None:
    now = fill(cli, *(f"m,n={n} f=1i" for n in range(count)))
    with Spool(cli.data_dir, 2**24) as spool:
        batch = leased(spool, count)
        lines = (f"m,n={n} f=1i {now}" for n in range(count))
        spool.queue().settle(batch, now, [Refusal(line, "a long reason") for line in lines])


def test_the_list_is_bounded_and_where_there_are_mirrors_each_line_has_its_server(
    cli: Cli, inside: Inside
) -> None:
    refuse(cli, 5)
    head, *rows, more = inside(cli, "rejected", "list", "--limit", "2").out.splitlines()
    assert head.split() == ["id", "refused", "reason", "line"]
    assert [row.split()[0] for row in rows] == ["5", "4"]
    assert all("a long reason  m,n=" in row for row in rows)
    assert more == "3 older ones; to see all: --limit 5"
    lines = inside(cli, "rejected", "list", "--json").json()
    assert [line["id"] for line in lines] == [5, 4, 3, 2, 1]
    assert lines[0].keys() == {"id", "time", "reason", "line"}
    with Spool(cli.data_dir, 2**24) as spool:
        for _ in spool.serve(["b"]):
            pass
        queue = spool.queue("b")
        batch = queue.lease(1)
        assert batch is not None
        queue.settle(batch, SystemClock().now_ns(), [Refusal("m,n=0 f=1i 1", "no")])
    lines = inside(cli, "rejected", "list", "--json").json()
    assert [line["server"] for line in lines] == ["b", *["main"] * 5]
    head, *rows, more = inside(cli, "rejected", "list", "--limit", "5").out.splitlines()
    assert head.split() == ["id", "refused", "server", "reason", "line"]
    assert [row.split()[2] for row in rows] == ["b", *["main"] * 4]
    assert more == "1 older one; to see all: --limit 6"


def test_refused_lines_are_listed_retried_and_dropped_while_the_agent_runs(
    bucket: Bucket, cli: Cli
) -> None:
    now = fill(cli, 'conflict,n=1 f="text"', 'conflict,n=2 f="text"', "fine f=1i")
    assert api.write(bucket.server, bucket.name, f"conflict f=1.5 {now}".encode())[0] == 204
    with running(cli.env(bucket=bucket), cli.folder) as agent:
        agent.until(lambda s: s["rejected_points"] == 2, "that two lines are refused")
        second, first = cli("rejected", "list", "--json").json()
        assert (first["line"], first["time"][-1]) == (f'conflict,n=1 f="text" {now}', "Z")
        assert "already exists as type float" in first["reason"]

        done = cli("rejected", "drop", str(second["id"]))
        assert (done.status, done.out) == (0, "1 line is deleted.\n")
        done = cli("rejected", "retry", str(first["id"]))
        assert (done.status, done.err) == (0, "")
        # Nothing has changed on the server: refused again, counted once.
        again = agent.until(
            lambda s: s["rejected_points"] == 1 and s["lost"].get("rejected") == 2, "a refusal"
        )
        assert_account(again)
        assert agent.stop() == 0

    elsewhere = f"{bucket.name}-elsewhere"
    try:
        assert cli("rejected", "retry", "--all").status == 0  # while the agent is down
        with running(cli.env(bucket=bucket, influxdb_bucket=elsewhere), cli.folder) as agent:
            status = agent.until(
                lambda s: s["backlog_points"] == 0 and s["delivered_points"], "the delivery"
            )
            assert agent.stop() == 0
        assert (status["rejected_points"], status["lost"]) == (0, {"rejected": 1})
        assert_account(status)
        rows = api.query(
            bucket.server,
            f'from(bucket: "{elsewhere}") |> range(start: 0)'
            ' |> filter(fn: (r) => r._measurement == "conflict")',
        )
        assert [(row["_time"], row["_value"], row["n"]) for row in rows] == [(now, "text", "1")]
    finally:
        api.delete_bucket(bucket.server, elsewhere)


def test_without_refused_lines_all_three_say_so(cli: Cli, inside: Inside) -> None:
    for _ in range(2):  # without a store, and with an empty one
        assert inside(cli, "rejected", "list").out == "No refused lines are kept.\n"
        assert inside(cli, "rejected", "list", "--json").json() == []
        assert inside(cli, "rejected", "retry", "--all").out.startswith("0 lines")
        assert inside(cli, "rejected", "drop", "--all").out.startswith("0 lines")
        assert (
            "no lines are kept yet" in inside(cli, "rejected", "drop", "1").error
            or cli.data_dir.exists()
        )
        fill(cli, "m f=1i")


def test_lines_beyond_their_age_stay_and_are_told_of(cli: Cli, inside: Inside) -> None:
    refuse(cli, 2)
    old = SystemClock().now_ns() - 2 * 3600 * 10**9
    with Spool(cli.data_dir, 2**24) as spool:
        spool.append([f"short f=1i {old}"], old)
        spool.queue().settle(leased(spool), old, [Refusal(f"short f=1i {old}", "a reason")])
    (cli.config_dir / "settings.toml").write_text("retention_overrides = { short = 1 }\n")
    done = inside(cli, "rejected", "retry", "--all")
    assert done.out == (
        "2 lines are on the queue again, to be delivered by an agent.\n"
        "1 line is older than its age, and left in the list.\n"
    )
    (left,) = inside(cli, "rejected", "list", "--json").json()
    assert left["line"].startswith("short ")


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_lines_must_be_named_and_be_there(cli: Cli, inside: Inside, command: str) -> None:
    refuse(cli, 1)
    for words in ((), ("1", "--all")):
        done = inside(cli, "rejected", command, *words)
        assert done.status == 2
        assert "name lines by their IDs, or all with --all" in done.error
    done = inside(cli, "rejected", command, "1", "4")
    assert done.status == 1
    assert done.error == (
        "no rejected line has the id 4; see them all: metrics-pipeline rejected list"
    )
    assert len(inside(cli, "rejected", "list", "--json").json()) == 1
