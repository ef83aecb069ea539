"""What a query is answered with: on the real server, and as no server should write it."""

import csv
import io
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.influx.client import Connection, InfluxError
from pipeline.influx.points import HostPoints, flux_string
from pipeline.influx.tables import QueryError, rows
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import annotated, api
from tests.influxd.api import Bucket

T0 = 1_700_000_000_000_000_001
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")),
    "long": st.integers(-(2**63), 2**63 - 1),
    "unsignedLong": st.integers(0, 2**64 - 1),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}


def asked(bucket: Bucket, flux: str) -> list[dict[str, Any]]:
    with closing(Connection(settings_for(bucket), ManualClock(), 60)) as connection:
        return connection.query(flux, lambda found: found)


def test_every_type_comes_out_of_tables_of_different_columns(bucket: Bucket) -> None:
    lines = f"""m,host=a f=1.5,i=-9i,u=18446744073709551615u,b=true,s="two\nlines, \\"ü\\"" {T0}
n f=-0.25 {T0 + 1}"""
    assert api.write(bucket.server, bucket.name, lines.encode())[0] == 204
    flux = f"from(bucket: {flux_string(bucket.name)}) |> range(start: 0)"
    found = asked(bucket, flux)
    values = {(row["_measurement"], row["_field"]): row["_value"] for row in found}
    assert values == {
        ("m", "f"): 1.5,
        ("m", "i"): -9,
        ("m", "u"): 2**64 - 1,
        ("m", "b"): True,
        ("m", "s"): 'two\nlines, "ü"',
        ("n", "f"): -0.25,
    }
    assert {(row["_measurement"], row.get("host"), row["_time"]) for row in found} == {
        ("m", "a", T0),
        ("n", None, T0 + 1),
    }
    assert {row["result"] for row in found} == {"_result"}  # a default
    assert asked(bucket, f'{flux} |> filter(fn: (r) => r.host == "nobody")') == []


def test_an_error_in_the_midst_of_an_answer_is_told(bucket: Bucket) -> None:
    flux = """import "array"
array.from(rows: [{a: 1}]) |> yield(name: "first")
array.from(rows: [{a: 0}]) |> map(fn: (r) => ({a: 1 / r.a})) |> yield(name: "second")"""
    with pytest.raises(InfluxError, match="cannot divide by zero") as caught:
        asked(bucket, flux)
    assert str(caught.value).startswith(f"{bucket.server.url} answered ")


@pytest.mark.parametrize("before", ["", "#datatype,string,string\r\n#default,,\r\n"])
@pytest.mark.parametrize("mark", ["", ","])
def test_an_error_in_the_place_of_a_table_is_told(before: str, mark: str) -> None:
    table = "#datatype,string,long\r\n#default,_result,\r\n,result,n\r\n,,1\r\n\r\n"
    error = f'{before}{mark}error,reference\r\n{mark}"it\r\nfailed",897\r\n'
    for text in (error, table + error):
        with pytest.raises(QueryError, match=r"^it failed 897$"):
            rows(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "<html>Welcome</html>",
        "<html>\n<body>\n",
        '{"results": []}',
        ",result,table\r\n,,0\r\n",
        "#datatype,string,long\r\n#default,,\r\n,result,n\r\n,,12",
        "#datatype,string,long\r\n#default,,\r\n,result,n\r\n,,1,2\r\n",
        "#datatype,string,long\r\n#default,,\r\n,result,n\r\n,,many\r\n",
        "#datatype,string,long\r\n,result,n\r\n,,1\r\n",
        "#datatype,string,boolean\r\n#default,,\r\n,result,b\r\n,,perhaps\r\n",
        "#datatype,string,dateTime:RFC3339\r\n#default,,\r\n,result,t\r\n,,yesterday\r\n",
        '#datatype,string,string\r\n#default,,\r\n,result,s\r\n,,"cut',
        *(
            f"#datatype,string,dateTime:RFC3339\r\n#default,,\r\n,result,t\r\n,,{time}\r\n"
            for time in (
                f"2023-11-14T22:13:20.{'9' * 30}Z",
                "2023-11-14T22:13:20.1234567891Z",
                "2023-11-14T22:13:20.-5Z",
                "2023-11-14T22:13:20.+5Z",
                "2023-11-14T22:13:20.1_0Z",
                "2023-11-14T22:13:20.Z",
                "2023-11-14T22:13:20",
                "2023-11-14T22:13:60Z",
                "9999-12-31T23:59:59Z",
                "0001-01-01T00:00:00Z",
                "2262-04-11T23:47:16.854775808Z",
            )
        ),
        # The defaults of a table before are none of the next.
        "#datatype,string,long\r\n#default,_result,7\r\n,result,n\r\n,,1\r\n"
        "#datatype,string,long\r\n,result,n\r\n,,\r\n",
    ],
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises((ValueError, csv.Error, KeyError)):
        rows(text.encode())


@pytest.mark.parametrize("rest", ["", "\r\n", "\r\n#datatype,string\r\n"])
def test_an_error_without_a_word_is_one_all_the_same(rest: str) -> None:
    with pytest.raises(QueryError, match=r"^an error without a word$"):
        rows(f"error,reference\r\n{rest}".encode())


def test_a_table_may_follow_another_at_once() -> None:
    text = (
        "#datatype,string,long\r\n#default,one,7\r\n,result,n\r\n,,\r\n"
        "#datatype,string,long\r\n#default,other,\r\n,result,m\r\n,,\r\n"
    )
    assert rows(text.encode()) == [{"result": "one", "n": 7}, {"result": "other", "m": None}]


def test_a_name_that_is_no_utf_8_hides_no_other(bucket: Bucket) -> None:
    lines = b"caf\xe9,host=h f=1 1\nm,host=h f=1 2\n"
    assert api.write(bucket.server, bucket.name, lines)[0] == 204
    with closing(Connection(settings_for(bucket), ManualClock(), 60)) as connection:
        points = HostPoints(connection, "h")
        assert points.counts(0, 10) == {"caf\ufffd": 1, "m": 1}
        assert points.measurements(0, 10) == {"caf\ufffd": 1, "m": 2}
        assert points.remove(0, 10) == 2
        assert points.counts(0, 10) == {}


@pytest.mark.parametrize("nothing", ["", "\r\n", "\r\n\r\n"])
def test_nothing_is_no_row(nothing: str) -> None:
    assert rows(nothing.encode()) == []


def test_a_column_without_a_value_is_none_and_of_a_text_empty() -> None:
    text = (
        "#group,false,false,true,false\r\n"
        "#datatype,string,long,string,duration\r\n#default,_result,7,,\r\n"
        ",result,n,s,d\r\n,,,,1h\r\n,,8,,\r\n\r\n"
        "#datatype,string,long\r\n#default,other,\r\n,result,n\r\n,,\r\n"
    )
    assert rows(text.encode()) == [
        {"result": "_result", "n": 7, "s": "", "d": "1h"},
        {"result": "_result", "n": 8, "s": "", "d": ""},
        {"result": "other", "n": None},
    ]


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20.1Z", 1_700_000_000 * 10**9 + 10**8),
        ("2023-11-14T22:13:20.000000001Z", T0),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1677-09-21T00:12:43.145224194Z", -(2**63) + 2),
        ("2262-04-11T23:47:16.854775806Z", 2**63 - 2),
    ],
)
def test_a_time_has_all_its_nanoseconds(text: str, time_ns: int) -> None:
    kinds = "#datatype,dateTime:RFC3339,dateTime:RFC3339Nano\r\n#default,,\r\n"
    assert rows(f"{kinds},a,b\r\n,{text},{text}\r\n".encode()) == [{"a": time_ns, "b": time_ns}]


@given(st.data())
def test_whatever_is_in_a_table_is_read_as_another_reader_does(data: st.DataObject) -> None:
    out = io.StringIO(newline="")
    expected: list[dict[str, Any]] = []
    for _ in range(data.draw(st.integers(0, 3))):
        kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
        names = [f"c{number}" for number in range(len(kinds))]
        its = data.draw(st.lists(st.tuples(*(KINDS[kind] for kind in kinds)), max_size=3))
        expected += [dict(zip(names, row, strict=True)) for row in its]
        table = csv.writer(out)
        table.writerows((("#datatype", *kinds), ("#default", *("" for _ in kinds)), ("", *names)))
        for row in its:
            # As the server writes them: a line break within a text is CRLF.
            cells = (str(cell).lower() if isinstance(cell, bool) else cell for cell in row)
            table.writerow(["", *(c.replace("\n", "\r\n") if type(c) is str else c for c in cells)])
        table.writerow([])
    text = out.getvalue()
    assert rows(text.encode()) == expected
    assert rows(text.replace("\r\n", "\n").encode()) == annotated.parse(text.replace("\r\n", "\n"))
