import gzip
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.influx.answer import Answer, Verdict, verdict
from pipeline.influx.connection import Connection
from pipeline.point import FieldValue, Point, encode
from pipeline.settings import Settings
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influx.conftest import answering, connected
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import last_response, scripted

DELIVERED = last_response("204 No Content")
NOW = 1_700_000_000_000_000_000


def write(settings: Settings, *lines: str) -> Answer:
    body = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    with closing(Connection(settings, ManualClock())) as connection:
        return connection.write(body)


def test_every_value_comes_back_as_it_was_sent_type_included(bucket: Bucket) -> None:
    fields: dict[str, FieldValue] = {
        "float": 1.5,
        "whole": 0.0,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "integer": 2**63 - 1,
        "negative": -(2**63),
        "zero": 0,
        "yes": True,
        "no": False,
        "text": 'a "quoted" \\ back\\\\slash, comma = and\ttab ü €',
        "lines": "one\r\nand another",
        "empty": "",
        "na me,=": 1,
    }
    tags = {"pa th": "/mnt/a b,c=d", "ü": 'q"uote', "back": "C:\\Users\\x"}
    write(settings_for(bucket), encode(Point("m x,y", fields, tags), NOW))
    rows = api.rows(bucket)
    expected = {**fields, "lines": r"one\r\nand another"}
    assert {row["_field"]: row["_value"] for row in rows} == expected
    assert all(type(row["_value"]) is type(fields[str(row["_field"])]) for row in rows)
    for row in rows:
        assert row["_measurement"] == "m x,y"
        assert {key: row[key] for key in tags} == tags
        assert row["_time"] == NOW


def test_members_of_gzip_joined_are_one_body(bucket: Bucket, connection: Connection) -> None:
    body = gzip.compress(f"m f=1i {NOW}\n".encode()) + gzip.compress(f"m f=2i {NOW + 1}\n".encode())
    assert connection.write(body).status == 204
    assert [row["_value"] for row in api.rows(bucket)] == [1, 2]


def test_the_real_servers_refusals(bucket: Bucket) -> None:
    settings = settings_for(bucket)
    malformed = write(settings, f"m f=1i {NOW}", "rubbish")
    assert (malformed.status, verdict(malformed)) == (400, Verdict.HALVE)
    assert "rubbish" in malformed.message
    assert api.rows(bucket) == []  # nothing of it was stored

    write(settings, f"m f=1i {NOW}")
    conflict = write(settings, f"m g=1i {NOW}", f'm f="text" {NOW}')
    assert (conflict.status, verdict(conflict)) == (422, Verdict.HALVE)
    assert len(api.rows(bucket)) == 2  # the rest was stored

    for changes, status, expected in (
        ({"influxdb_token": "wrong"}, 401, Verdict.UNAUTHORIZED),
        ({"influxdb_bucket": "nowhere"}, 404, Verdict.NO_BUCKET),
        ({"influxdb_org": "nobody"}, 404, Verdict.NO_BUCKET),
    ):
        refused = write(settings_for(bucket, **changes), f"m f=1i {NOW}")
        assert (refused.status, verdict(refused)) == (status, expected)

    token = api.create_token(bucket, ["read"])
    reader = write(settings_for(bucket, influxdb_token=token), f"m f=1i {NOW}")
    assert verdict(reader) in (Verdict.UNAUTHORIZED, Verdict.NO_BUCKET)
    assert token not in reader.message


def ask(answer: bytes) -> Answer:
    with answering(answer) as connection:
        return connection.write(b"")


def test_the_headers_of_an_answer_are_read_in_print_and_in_short() -> None:
    version = "X-Influxdb-Version: 1.8\x1b[31m" + "x" * 99
    busy = ask(last_response("429 Too Many Requests", b"", "Retry-After: 7", version))
    assert busy.retry_after_s == 7
    assert busy.version == "1.8 [31m" + "x" * 52
    delivered = last_response("204 No Content", b"", "Date: Tue, 14 Nov 2023 22:13:20 GMT")
    assert ask(delivered) == Answer(204, date_s=1_700_000_000)


@pytest.mark.slow
def test_an_authority_that_is_exchanged_in_its_file_is_believed(
    certificate: Path, other_certificate: Path, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(other_certificate.read_bytes())
    with answering(DELIVERED, certificate, influxdb_ca_cert=authority) as connection:
        assert connection.write(b"").status is None
        authority.write_bytes(certificate.read_bytes())
        assert connection.write(b"").status == 204


def test_unless_the_settings_say_that_it_need_not(
    certificate: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with answering(DELIVERED, certificate, influxdb_verify_tls=False) as connection:
        assert connection.write(b"").status == 204
    assert recwarn.list == []


def test_a_tls_port_that_is_asked_in_plain_http_loses_nothing(certificate: Path) -> None:
    with scripted(b"", certificate) as url, connected(url.replace("s", "", 1)) as connection:
        assert verdict(connection.write(b"")) is Verdict.KEEP
