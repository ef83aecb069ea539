from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.agents import tables
from benchmarks.bench import Bench
from benchmarks.contestants import AGENT, TELEGRAF, Pace
from benchmarks.soak import Contestant, Soak
from benchmarks.tables import Table

PACE = Pace(1, 10)


def measured(folder: Path, **cpu_ms: float) -> dict[str, Table]:
    with ExitStack() as stack:
        soak = Soak(Bench(folder, stack), stack, ())
        for name in contestants.EVERY:
            measured = Contestant(name, PACE, None)
            measured.cpu_ms += [cpu_ms[name]] if name in cpu_ms else []
            soak.contestants.append(measured)
        return {table.title.partition(":")[0]: table for table in tables(soak)}


def test_who_is_missing_is_named_and_its_rows_stay_empty(tmp_path: Path) -> None:
    for table in measured(tmp_path).values():
        assert TELEGRAF in table.note
        assert [row.cells[2:5] for row in table.rows] == [("", "", "")] * len(table.rows)


@pytest.mark.parametrize(("theirs", "verdict"), [(9.0, "yes"), (8.0, "no")])
def test_the_agent_is_held_to_a_share_of_telegrafs_time(
    tmp_path: Path, theirs: float, verdict: str
) -> None:
    table = measured(tmp_path, **{AGENT: 4.0, TELEGRAF: theirs})["Processor time a reading"]
    verdicts = {row.name: row.verdict for row in table.rows if row.target}
    assert verdicts == {
        "metrics-pipeline / Telegraf": verdict,
        "metrics-pipeline / collectd": "not measured",
    }


def test_a_peer_that_is_not_there_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("benchmarks.peers.collectd.find", lambda: None)
    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        for name in (TELEGRAF, contestants.COLLECTD, contestants.GLANCES):
            assert contestants.EVERY[name](bench, stack, tmp_path, PACE) is None
