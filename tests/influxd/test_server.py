import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.agents import eventually
from tests.influxd import annotated, api, process, ways
from tests.influxd.http import RefusedError, call
from tests.influxd.process import InfluxProcess
from tests.influxd.server import InfluxServer, UnavailableError

NOTHING_AT_HAND = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PATH": "", "HOME": "/nowhere"}
LINE = b'reading,host=a whole=-3i,half=0.5,ok=true,word="a,\\"b\\"",big=18446744073709551615u '
NOW = time.time_ns()


def is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def rows(bucket: api.Bucket) -> list[dict[str, object]]:
    flux = f'from(bucket: "{bucket.name}") |> range(start: 0)'
    return api.query(bucket.server, flux)


def test_a_server_is_got_and_answers(influx_server: InfluxServer) -> None:
    assert influx_server.way in {"external", "container", "process"}
    assert call("GET", f"{influx_server.url}/health").json()["status"] == "pass"


def test_a_server_is_set_up_only_once(influx_server: InfluxServer) -> None:
    assert call("POST", f"{influx_server.url}/api/v2/setup", {}).status == 422


def test_a_written_point_is_read_back_with_its_types(bucket: api.Bucket) -> None:
    assert api.write(bucket.server, bucket.name, LINE + str(NOW).encode()) == (204, "")
    read = {row["_field"]: row["_value"] for row in rows(bucket)}
    expected = {"whole": -3, "half": 0.5, "ok": True, "word": 'a,"b"', "big": 2**64 - 1}
    assert read == expected
    assert {type(value) for value in read.values()} == {int, float, bool, str}
    assert {row["_time"] for row in rows(bucket)} == {NOW}


def test_a_refused_write_and_a_refused_query_say_why(bucket: api.Bucket) -> None:
    status, body = api.write(bucket.server, bucket.name, b"nonsense")
    assert status == 400
    assert "unable to parse" in body
    with pytest.raises(RefusedError, match="400"):
        api.query(bucket.server, "nonsense")


def test_a_bucket_has_its_retention_until_it_is_removed(influx_server: InfluxServer) -> None:
    made = api.create_bucket(influx_server, f"kept-{NOW}", retention_seconds=7200)
    found = api.get_bucket(influx_server, made.name)
    assert found is not None
    assert found["retentionRules"][0]["everySeconds"] == 7200
    api.delete_bucket(influx_server, made.name)
    assert api.get_bucket(influx_server, made.name) is None


def test_a_token_may_do_only_what_it_was_made_for(bucket: api.Bucket) -> None:
    point = b"m f=1 1"
    writer = api.create_token(bucket, permissions=["write"])
    reader = api.create_token(bucket, permissions=["read"])
    assert api.write(bucket.server, bucket.name, point, token=writer)[0] == 204
    assert api.write(bucket.server, bucket.name, point, token=reader)[0] in {401, 403}


def test_a_bare_process_serves_whatever_the_session_uses(influx_process: InfluxProcess) -> None:
    server = influx_process.server
    bucket = api.create_bucket(server, "smoke")
    assert server.way == "process"
    assert api.write(server, bucket.name, b"m f=1 1")[0] == 204
    assert len(rows(bucket)) == 1


@pytest.mark.parametrize("end", [InfluxProcess.stop, InfluxProcess.kill])
def test_data_outlives_the_process(
    influx_process: InfluxProcess, end: Callable[[InfluxProcess], None]
) -> None:
    before = influx_process.server
    bucket = api.create_bucket(before, "kept")
    api.write(before, bucket.name, b"m f=1 1")
    end(influx_process)
    with pytest.raises(OSError, match="refused"):
        call("GET", f"{before.url}/health")
    influx_process.start()
    assert influx_process.server == before
    assert len(rows(bucket)) == 1


def test_no_process_is_left_when_its_parent_is_killed(influxd_binary: Path, tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys; from tests.influxd.process import InfluxProcess;"
        "one = InfluxProcess(*map(pathlib.Path, sys.argv[1:]));"
        "one.start(); print(one.pid, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", program, str(influxd_binary), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert "influxd" in server.name()
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: is_gone(server), "its end")


def test_with_nothing_at_hand_the_message_names_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as failure, ways.disposable(NOTHING_AT_HAND, tmp_path):
        pass
    for way in ("INFLUXDB_TEST_URL", "start Docker", "make influxd"):
        assert way in str(failure.value)


def test_a_named_server_that_is_gone_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    with (
        pytest.raises(TimeoutError, match="127"),
        ways.external({"INFLUXDB_TEST_URL": "http://127.0.0.1:9"}, within_s=0.1),
    ):
        pass


def test_a_program_that_only_has_the_name_is_passed_over(tmp_path: Path) -> None:
    impostor = tmp_path / "influxd"
    impostor.write_text("#!/bin/sh\necho InfluxDB v1.8.10\n")
    impostor.chmod(0o755)
    with (
        pytest.raises(UnavailableError, match="no influxd of version 2"),
        ways.bare_process({**NOTHING_AT_HAND, "PATH": str(tmp_path)}, tmp_path),
    ):
        pass


def test_an_influxd_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho out of luck\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeError, match="out of luck"), process.running(broken, tmp_path):
        pass


TWO_TABLES = """\
#datatype,string,long,dateTime:RFC3339Nano,double\r
#group,false,false,false,false\r
#default,_result,,,\r
,result,table,_time,_value\r
,,0,1970-01-01T00:00:01.000000002Z,1\r
,,0,1969-12-31T23:59:59.5Z,\r
\r
#datatype,string,long,string,boolean\r
#group,false,false,true,false\r
#default,_result,,,\r
,result,table,host,_value\r
,,1,"a\r
b",false\r
\r
"""


def test_tables_of_different_types_are_read_each_by_its_own() -> None:
    assert annotated.parse(TWO_TABLES) == [
        {"result": "_result", "table": 0, "_time": 1_000_000_002, "_value": 1.0},
        {"result": "_result", "table": 0, "_time": -500_000_000, "_value": None},
        {"result": "_result", "table": 1, "host": "a\r\nb", "_value": False},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "error,reference\r\nit broke,897\r\n",
        "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n"
        ",error,reference\r\n,it broke,897\r\n",
    ],
)
def test_an_error_in_place_of_a_table_is_raised(text: str) -> None:
    with pytest.raises(annotated.QueryError, match="it broke"):
        annotated.parse(text)
