import time

import pytest

from pipeline.influx.answer import Answer, InfluxError
from pipeline.settings import SettingsError
from tests.configured import settings_for
from tests.influx.conftest import BODY, Settle
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import Request, gateway, last_response, response, scripted, serving


def test_a_missing_bucket_is_made_before_the_first_write_and_after_one_that_is_refused(
    bucket: Bucket, settle: Settle, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = settle(influxdb_bucket=missing, retention_hours=48)
    for _ in range(2):
        assert not here.target.prepared
        here.target.prepare()
        assert here.write() == 204
        api.delete_bucket(bucket.server, missing)
        assert here.write() == 404
    assert here.ages_h == [48, 48]
    told = [one.getMessage() for one in caplog.records if one.name.startswith("pipeline")]
    assert told == [f"Bucket {missing!r}: created, keeps 48 h"] * 2


def test_a_token_that_is_refused_is_left_to_delivery_to_report_and_replaced_when_it_was_rotated(
    bucket: Bucket, settle: Settle
) -> None:
    here = settle(influxdb_token="old")
    for _ in range(3):
        here.target.prepare()
        assert here.write() == 401
        here.target.renew()
    here.found = settings_for(bucket)
    here.target.renew()
    here.target.prepare()
    assert here.write() == 204
    assert set(here.left_alone) == {""}
    assert len(here.rules) == 1
    here.found = SettingsError(["broken"])  # then the token stays as it is
    here.target.renew()
    assert here.write() == 204


def test_a_token_that_may_only_write_does_so(bucket: Bucket, settle: Settle) -> None:
    here = settle(influxdb_token=api.create_token(bucket, ["write"]))
    here.target.prepare()
    here.target.prepare()
    assert here.left_alone == []  # it might be a token that may do nothing
    assert (here.write(), here.write()) == (204, 204)
    assert here.rules == []
    (told,) = here.left_alone
    assert "retention rule is left alone" in told
    assert "influx bucket update --id " in told


def test_a_server_that_is_not_there_makes_the_readings_wait(settle: Settle) -> None:
    with pytest.raises(InfluxError, match="no answer"):
        settle(influxdb_url="http://127.0.0.1:1").target.prepare()


@pytest.mark.parametrize(
    "answer",
    [
        last_response("200 OK", b"a page"),
        last_response("201 Created", b"a page"),
        last_response("204 No Content"),
        last_response("206 Partial Content", b"a page"),
        last_response("302 Found", b"", "Location: /login"),
        last_response("304 Not Modified"),
    ],
    ids=["200", "201", "204", "206", "302", "304"],
)
def test_readings_do_not_wait_for_a_server_that_cannot_be_understood(
    settle: Settle, answer: bytes
) -> None:
    """Its bucket cannot be looked after, but it may take them."""
    with scripted(answer) as url:
        here = settle(influxdb_url=url)
        here.target.prepare()
        assert here.target.prepared
        assert not here.target.write_only


def test_nothing_is_sent_against_an_obstacle_and_each_answer_tells_the_servers_clock(
    settle: Settle,
) -> None:
    here = settle()
    here.obstacle = "the clock is not set"
    assert here.target.write(BODY) == Answer(None, message="the clock is not set")
    here.obstacle = ""
    assert here.target.write(BODY).status == 204
    assert here.target.write(b"no gzip").status == 500
    assert len(here.dates) == 2
    # One machine, one clock; the hour is for a server of the user's own.
    assert all(abs(date - time.time()) < 3600 for date in here.dates)


def test_the_rule_is_set_once_and_one_that_is_changed_elsewhere_only_shows(
    bucket: Bucket, settle: Settle
) -> None:
    api.set_age(bucket, 24)
    here = settle()
    assert not here.target.prepared
    here.target.prepare()
    assert here.target.prepared
    here.look()
    api.set_age(bucket, 24)
    for _ in range(2):
        here.target.prepare()
        here.look()
    assert api.age_s(bucket.server, bucket.name) == 24 * 3600
    assert here.ages_h == [168, 168, 24, 24]
    assert here.drifts[:2] == ["", ""]
    assert all("keeps 24 h and not 168 h" in drift for drift in here.drifts[2:])


def test_a_rule_that_another_host_shortened_at_the_same_moment_is_lengthened_once_more(
    bucket: Bucket, settle: Settle
) -> None:
    api.set_age(bucket, 24)
    here = settle()
    here.target.prepare()
    here.look()  # the first sweep, at the same moment
    here.clock.advance(1)
    here.look()
    # A write is refused, by a token that is exchanged and comes back.
    for token, status in (("wrong", 401), (bucket.server.token, 204)):
        here.found = settings_for(bucket, influxdb_token=token)
        here.target.renew()
        assert here.write() == status
    here.target.prepare()
    assert here.target.needs_recheck
    api.set_age(bucket, 48)  # it had looked before this one had changed it
    here.clock.advance(59)
    here.look()
    assert here.ages_h == [168] * 5
    assert here.target.needs_recheck
    here.clock.advance(60)
    here.look()
    assert not here.target.needs_recheck
    api.set_age(bucket, 48)  # by hand, later: that shows, and stays
    here.look()
    assert here.ages_h[-1] == 48


def test_to_enforce_is_not_repeated(bucket: Bucket, settle: Settle) -> None:
    here = settle(bucket_retention="enforce")
    here.target.prepare()
    assert not here.target.needs_recheck
    here.shorten()
    api.set_age(bucket, 300)
    here.look()
    here.shorten()
    assert here.ages_h == [0, 168, 300]
    assert here.drifts[1] == ""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        response("401 No", b'{"code":"unauthorized","message":"unauthorized access"}'),
        response("429 Too Many Requests"),
        response("500 Panic"),
    ],
    ids=["none", "401", "429", "500"],
)
def test_a_count_that_fails_leaves_the_rule_and_no_reading_waits_for_it(
    bucket: Bucket, settle: Settle, answer: bytes
) -> None:
    failing = True

    def count_fails(request: Request) -> bytes | None:
        return answer if failing and request.path.startswith("/api/v2/query") else None

    with serving(gateway(bucket.server.url, count_fails)) as url:
        here = settle(bucket_retention="enforce", influxdb_url=url)
        here.target.prepare()
        assert here.target.prepared
        assert here.write() == 204
        for _ in range(2):
            here.shorten(0.2)
        assert api.age_s(bucket.server, bucket.name) == 0
        (told,) = set(here.left_alone) - {""}
        assert "rule is left alone: " in told
        assert set(here.ages_h) == {0}
        failing = False
        here.shorten()
        here.target.close()
    assert api.age_s(bucket.server, bucket.name) == 168 * 3600
    assert here.left_alone[-1] == ""
