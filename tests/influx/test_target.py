import gzip
import time
from contextlib import closing
from typing import Any

import pytest

from pipeline.influx.answer import Answer, InfluxError
from pipeline.influx.buckets import Rule
from pipeline.influx.target import Target
from pipeline.settings import Settings, SettingsError
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import Request, gateway, response, serving

BODY = gzip.compress(f"m f=1i {time.time_ns()}".encode())


class Settled:
    """A target, the rules that it told of, and the settings that it finds when it reloads."""

    def __init__(self, settings: Settings) -> None:
        self.rules: list[Rule] = []
        self.found: Settings | SettingsError = settings
        self.dates: list[float] = []
        self.obstacle = ""
        self.drifts: list[str] = []
        self.left_alone: list[str] = []
        self.clock = ManualClock()
        self.target = Target(
            settings, self.reload, self.clock, self, self.dates.append, lambda: self.obstacle
        )

    def learn(self, rule: Rule | None, drift: str) -> None:
        self.rules += [rule] if rule else []
        self.drifts.append(drift)

    def leave_alone(self, why: str) -> None:
        self.left_alone.append(why)

    def reload(self) -> Settings:
        if isinstance(self.found, SettingsError):
            raise self.found
        return self.found


def settled(bucket: Bucket, **changes: Any) -> Settled:
    return Settled(settings_for(bucket, **changes))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("pipeline")]


def test_a_missing_bucket_is_made_before_the_first_write(
    bucket: Bucket, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = settled(bucket, influxdb_bucket=missing, retention_hours=48)
    with closing(here.target):
        here.target.prepare()
        assert here.target.write(BODY).status == 204
    assert [rule.age_s for rule in here.rules] == [48 * 3600]
    assert messages(caplog) == [f"Bucket {missing!r}: created, keeps 48 h"]


def test_a_token_that_is_refused_is_left_to_delivery_to_report_and_replaced_when_it_was_rotated(
    bucket: Bucket,
) -> None:
    here = settled(bucket, influxdb_token="old")
    with closing(here.target):
        for _ in range(3):
            here.target.prepare()
            assert here.target.write(BODY).status == 401
            here.target.renew()
        here.found = settings_for(bucket)
        here.target.renew()
        here.target.prepare()
        assert here.target.write(BODY).status == 204
    assert set(here.left_alone) == {""}
    assert len(here.rules) == 1


def test_settings_that_are_broken_meanwhile_leave_the_token_as_it_is(bucket: Bucket) -> None:
    here = settled(bucket)
    here.found = SettingsError(["broken"])
    with closing(here.target):
        here.target.renew()
        assert here.target.write(BODY).status == 204


def test_a_token_that_may_only_write_does_so(bucket: Bucket) -> None:
    here = settled(bucket, influxdb_token=api.create_token(bucket, ["write"]))
    with closing(here.target):
        here.target.prepare()
        here.target.prepare()
        assert here.left_alone == []  # it might be a token that may do nothing
        assert here.target.write(BODY).status == 204
        assert here.target.write(BODY).status == 204
    assert here.rules == []
    (told,) = here.left_alone
    assert "retention rule is left alone" in told
    assert "influx bucket update --id " in told


def test_a_server_that_is_not_there_makes_the_readings_wait(bucket: Bucket) -> None:
    here = settled(bucket, influxdb_url="http://127.0.0.1:1")
    with closing(here.target), pytest.raises(InfluxError, match="no answer"):
        here.target.prepare()


def test_influxdbs_own_clock_is_told_with_each_answer(bucket: Bucket) -> None:
    here = settled(bucket)
    with closing(here.target):
        here.target.write(BODY)
        here.target.write(b"rubbish")
    assert len(here.dates) == 2
    # One machine, one clock; the hour is for a server of the user's own.
    assert all(abs(date - time.time()) < 3600 for date in here.dates)


def test_nothing_is_sent_against_an_obstacle(bucket: Bucket) -> None:
    here = settled(bucket)
    here.obstacle = "the clock is not set"
    with closing(here.target):
        assert here.target.write(BODY) == Answer(None, message="the clock is not set")
        here.obstacle = ""
        assert here.target.write(BODY).status == 204


def test_the_rule_is_set_once_and_one_that_is_changed_elsewhere_only_shows(bucket: Bucket) -> None:
    api.set_age(bucket, 24)
    here = settled(bucket)
    with closing(here.target), here.target.connection() as connection:
        assert not here.target.prepared
        here.target.prepare()
        assert here.target.prepared
        here.target.look(connection)
        api.set_age(bucket, 24)
        for _ in range(2):
            here.target.prepare()
            here.target.look(connection)
    assert api.age_s(bucket.server, bucket.name) == 24 * 3600
    assert [rule.age_s for rule in here.rules] == [hours * 3600 for hours in (168, 168, 24, 24)]
    assert here.drifts[:2] == ["", ""]
    assert all("keeps 24 h and not 168 h" in drift for drift in here.drifts[2:])


def test_a_write_that_is_refused_lets_the_rule_be_looked_after_again(
    bucket: Bucket, missing: str
) -> None:
    here = settled(bucket, influxdb_bucket=missing)
    with closing(here.target):
        here.target.prepare()
        api.delete_bucket(bucket.server, missing)
        assert here.target.write(BODY).status == 404
        assert not here.target.prepared
        here.target.prepare()
        assert here.target.write(BODY).status == 204


def refused(here: Settled, wrong: Settings) -> None:
    """Have a write refused, by a token that is exchanged and comes back."""
    right = here.target.settings
    for settings, status in ((wrong, 401), (right, 204)):
        here.found = settings
        here.target.renew()
        assert here.target.write(BODY).status == status


def test_a_rule_that_another_host_shortened_at_the_same_moment_is_lengthened_once_more(
    bucket: Bucket,
) -> None:
    api.set_age(bucket, 24)
    here = settled(bucket)
    with closing(here.target), here.target.connection() as connection:
        here.target.prepare()
        here.target.look(connection)  # the first sweep, at the same moment
        here.clock.advance(1)
        here.target.look(connection)
        refused(here, settings_for(bucket, influxdb_token="wrong"))
        here.target.prepare()
        assert here.target.needs_recheck
        api.set_age(bucket, 48)  # it had looked before this one had changed it
        here.clock.advance(59)
        here.target.look(connection)
        assert [rule.age_s for rule in here.rules] == [168 * 3600] * 5
        assert here.target.needs_recheck
        here.clock.advance(60)
        here.target.look(connection)
        assert not here.target.needs_recheck
        api.set_age(bucket, 48)  # by hand, later: that shows, and stays
        here.target.look(connection)
    assert here.rules[-1].age_s == 48 * 3600


def test_to_enforce_is_not_repeated(bucket: Bucket) -> None:
    here = settled(bucket, bucket_retention="enforce")
    with closing(here.target), here.target.connection() as connection:
        here.target.prepare()
        assert not here.target.needs_recheck
        here.target.shorten(connection)
        api.set_age(bucket, 300)
        here.target.look(connection)
        here.target.shorten(connection)
    assert [rule.age_s for rule in here.rules] == [0, 168 * 3600, 300 * 3600]
    assert here.drifts[1] == ""


def unauthorized() -> bytes:
    body = b'{"code":"unauthorized","message":"unauthorized access"}'
    return response("401 Unauthorized", body)


@pytest.mark.parametrize(
    "answer",
    [b"", unauthorized(), response("429 Too Many Requests"), response("500 Panic")],
    ids=["none", "401", "429", "500"],
)
def test_a_count_that_fails_leaves_the_rule_and_no_reading_waits_for_it(
    bucket: Bucket, answer: bytes
) -> None:
    failing = True

    def count_fails(request: Request) -> bytes | None:
        return answer if failing and request.path.startswith("/api/v2/query") else None

    with serving(gateway(bucket.server.url, count_fails)) as url:
        here = settled(bucket, bucket_retention="enforce", influxdb_url=url)
        with closing(here.target):
            here.target.prepare()
            assert here.target.prepared
            assert here.target.write(BODY).status == 204
            with here.target.connection(0.2) as connection:
                for _ in range(2):
                    here.target.shorten(connection)
            assert api.age_s(bucket.server, bucket.name) == 0
            (told,) = set(here.left_alone) - {""}
            assert "rule is left alone: " in told
            assert {rule.age_s for rule in here.rules} == {0}
            failing = False
            with here.target.connection() as connection:
                here.target.shorten(connection)
    assert api.age_s(bucket.server, bucket.name) == 168 * 3600
    assert here.left_alone[-1] == ""
