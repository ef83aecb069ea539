"""The rows of a query: from the real server, and from answers that no server should give."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.influx.answer import InfluxError
from pipeline.influx.connection import Connection
from pipeline.influx.points import HostPoints, flux_string
from tests.influx.conftest import answering
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import last_response

T0 = 1_700_000_000_000_000_001
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


def rows(answer: str) -> list[dict[str, str]]:
    """The rows of an answer that a server gives with status 200."""
    with answering(last_response("200 OK", answer.encode())) as connection:
        return connection.query("buckets()", list)


def test_the_rows_of_tables_of_different_columns_and_types(
    bucket: Bucket, connection: Connection
) -> None:
    fields = 'f=1.5,i=-9i,u=18446744073709551615u,b=true,s="a, \\"ü\\""'
    api.put(bucket, f"m,host=a {fields} {T0}", f"n f=-0.25 {T0 + 1}")
    flux = f"from(bucket: {flux_string(bucket.name)}) |> range(start: 0)"
    found = connection.query(flux, list)
    values = {(row["_measurement"], row["_field"]): row["_value"] for row in found}
    assert values == {
        ("m", "f"): "1.5",
        ("m", "i"): "-9",
        ("m", "u"): str(2**64 - 1),
        ("m", "b"): "true",
        ("m", "s"): 'a, "ü"',
        ("n", "f"): "-0.25",
    }
    assert {(row["_measurement"], row.get("host"), row["_time"]) for row in found} == {
        ("m", "a", "2023-11-14T22:13:20.000000001Z"),
        ("n", None, "2023-11-14T22:13:20.000000002Z"),
    }
    assert connection.query(f'{flux} |> filter(fn: (r) => r.host == "nobody")', list) == []


def test_an_error_in_the_midst_of_an_answer_is_told(connection: Connection) -> None:
    flux = """import "array"
array.from(rows: [{a: 1}]) |> yield(name: "first")
array.from(rows: [{a: 0}]) |> map(fn: (r) => ({a: 1 / r.a})) |> yield(name: "second")"""
    with pytest.raises(InfluxError, match="cannot divide by zero") as caught:
        connection.query(flux, list)
    assert str(caught.value).startswith(f"{connection.settings.influxdb_url} answered ")


TABLE = ",result,table,n\r\n,_result,0,1\r\n\r\n"


@pytest.mark.parametrize("mark", ["", ","])
@pytest.mark.parametrize("before", ["", TABLE, TABLE.removesuffix("\r\n")])
def test_an_error_in_the_place_of_a_table_is_told(before: str, mark: str) -> None:
    error = f'{mark}error,reference\r\n{mark}"it\r\nfailed",897\r\n'
    with pytest.raises(InfluxError, match=r"answered 200: it failed 897$"):
        rows(before + error)


@pytest.mark.parametrize("rest", ["", "\r\n"])
def test_an_error_without_a_word_is_one_all_the_same(rest: str) -> None:
    with pytest.raises(InfluxError, match=r"an error without a word$"):
        rows(f"error,reference\r\n{rest}")


@pytest.mark.parametrize(
    "text",
    [
        "<html>Welcome</html>",
        "<html>\n<body>\n",
        '{"results": []}',
        '{"results": []}\n',
        "#datatype,string,long\r\n#default,,\r\n,result,n\r\n,,1\r\n",
        ",result,table,n\r\n,_result,0,12",
        ",result,table,n\r\n,_result,0\r\n",
        ",result,table,n\r\n,_result,0,1,2\r\n",
        ',result,table,s\r\n,_result,0,"cut',
    ],
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(InfluxError, match=r" did not answer as InfluxDB 2 does$"):
        rows(text)


def test_a_name_that_is_no_utf_8_hides_no_other(bucket: Bucket, connection: Connection) -> None:
    lines = b"caf\xe9,host=h f=1 1\nm,host=h f=1 2\n"
    assert api.write(bucket.server, bucket.name, lines)[0] == 204
    points = HostPoints(connection, "h")
    assert points.counts(0, 10) == {"caf\ufffd": 1, "m": 1}
    assert points.measurements(0, 10) == {"caf\ufffd": 1, "m": 2}
    assert points.remove(0, 10) == 2
    assert points.counts(0, 10) == {}


@pytest.mark.slow
@given(st.lists(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), max_size=3))
def test_whatever_is_in_tables_is_read_as_it_was_written(
    tables: list[list[tuple[str, str]]],
) -> None:
    out = io.StringIO(newline="")
    for number, table in enumerate(tables):
        writer = csv.writer(out)
        writer.writerow(["", "result", "table", "a", "b"])
        writer.writerows(["", "_result", number, *cells] for cells in table)
        out.write("\r\n")
    found = [(row["a"], row["b"]) for row in rows(out.getvalue())]
    assert found == [cells for table in tables for cells in table]
