"""Every command on every kind of damage, before the agent starts: it finds all that is left."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.spool import Refusal, Spool
from tests.cli.commands import Cli, Inside
from tests.spool.stores import MB, PAGE, account, history, killed, leased, reading, scribble

pytestmark = pytest.mark.slow

READINGS, REFUSED = 60, 6
COMMANDS = [
    *("status", "status --json", "show", "show m", "show m f --csv"),
    *("rejected list", "rejected retry --all", "rejected drop --all"),
    *("retention plan", "retention apply", "doctor", "once", "metrics", "settings check"),
]


def in_the_midst(directory: Path) -> None:
    def begin() -> None:
        with Spool(directory, 100 * MB) as spool:
            next(spool.salvage())

    scribble(directory / "spool.db", 0, 100)
    killed(begin)


# Each with how many readings may be lost. What is noticed before a store is opened is all alike.
KINDS: dict[str, tuple[Callable[[Path], object], int]] = {
    "none": (lambda folder: folder, 0),
    "empty": (lambda folder: (folder / "spool.db").write_bytes(b""), READINGS),
    "a page": (lambda folder: scribble(folder / "spool.db", 9 * PAGE, PAGE), 12),
    "cut": (lambda folder: os.truncate(folder / "spool.db", 20 * PAGE + 100), READINGS),
    "noise in the log": (lambda folder: scribble(folder / "spool.db-wal", 0, 500), 12),
    "in the midst": (in_the_midst, 0),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as an agent leaves it that was killed: most in the file, the newest in the log."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    folder.mkdir()
    now_ns = time.time_ns()

    def fill(spool: Spool, *numbers: int) -> None:
        for number in numbers:
            spool.append(reading(number), now_ns - (READINGS - number))

    def work() -> None:
        with Spool(folder, 100 * MB) as spool:
            fill(spool, *range(50))
            refused = [Refusal(f"m f={n}i {now_ns}", "no") for n in range(REFUSED)]
            spool.queue().settle(leased(spool, 30), now_ns, refused)
        left = Spool(folder, 100 * MB)
        fill(left, *range(50, READINGS))

    killed(work)
    return folder


@pytest.mark.parametrize(("damage", "lost"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_whatever_is_asked_first_of_a_damaged_store_the_agent_finds_all_that_is_left(
    whole: Path,
    tmp_path: Path,
    inside: Inside,
    command: str,
    damage: Callable[[Path], object],
    lost: int,
) -> None:
    cli = Cli(tmp_path)
    shutil.copytree(whole, cli.data_dir)
    damage(cli.data_dir)
    done = inside(cli, *command.split())
    assert done.status in (0, 1)
    assert "Traceback" not in done.out + done.err
    if done.status == 1 and command != "doctor":
        # A store that is being filled again has no readings yet.
        assert done.error.startswith((f"{cli.data_dir}/spool.db ", "no readings of "))
    with Spool(cli.data_dir, 100 * MB) as spool:
        for _ in spool.salvage():
            pass
        found = spool.contents()
    account(found)
    kept = history(cli.data_dir)
    assert len(kept) >= READINGS - lost
    if lost < READINGS:
        retried = REFUSED if command.startswith("rejected retry") and done.status == 0 else 0
        assert found.points == 3 * READINGS
        assert found.delivered_points + found.lost.get("rejected", 0) == 30 - retried
