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
COMMANDS = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "show": ("show",),
    "show m": ("show", "m"),
    "show --csv": ("show", "m", "f", "--csv"),
    "rejected list": ("rejected", "list"),
    "rejected retry": ("rejected", "retry", "--all"),
    "rejected drop": ("rejected", "drop", "--all"),
    "retention plan": ("retention", "plan"),
    "retention apply": ("retention", "apply"),
    "doctor": ("doctor",),
    "once": ("once",),
    "metrics": ("metrics",),
    "settings check": ("settings", "check"),
}


def main_file(directory: Path) -> Path:
    return directory / "spool.db"


def log_file(directory: Path) -> Path:
    return directory / "spool.db-wal"


def interrupted(directory: Path) -> None:
    """Leave what a process leaves that ends before the new store is in its place."""
    in_the_midst(directory)
    main_file(directory).rename(directory / "new")
    for file in directory.glob("spool.db-*"):
        file.unlink()
    for file in directory.glob("spool.db.damaged-*"):
        stamp, _, part = file.name.partition(".damaged-")[2].partition("Z-")
        file.rename(directory / (f"spool.db-{part}" if part else "spool.db"))
    (directory / "new").rename(directory / f"spool.db.salvaged-{stamp.removesuffix('Z')}Z")


def in_the_midst(directory: Path) -> None:
    def begin() -> None:
        with Spool(directory, 100 * MB) as spool:
            next(spool.salvage())

    scribble(main_file(directory), 0, 100)
    killed(begin)


def flipped(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 1
    path.write_bytes(data)


# Each with how many readings may be lost.
KINDS: dict[str, tuple[Callable[[Path], object], int]] = {
    "none": (lambda folder: folder, 0),
    "empty": (lambda folder: main_file(folder).write_bytes(b""), READINGS),
    "missing": (lambda folder: main_file(folder).unlink(), READINGS),
    "a letter": (lambda folder: main_file(folder).write_bytes(b"a letter" * 1000), READINGS),
    "header": (lambda folder: scribble(main_file(folder), 0, 100), 0),
    "first page": (lambda folder: scribble(main_file(folder), 0, PAGE), 0),
    "a page": (lambda folder: scribble(main_file(folder), 9 * PAGE, PAGE), 12),
    "cut": (lambda folder: os.truncate(main_file(folder), 20 * PAGE + 100), READINGS),
    "bit in the log": (lambda folder: flipped(log_file(folder), 0.5), 12),
    "noise in the log": (lambda folder: scribble(log_file(folder), 0, 500), 12),
    "long log": (lambda folder: os.truncate(log_file(folder), 2**26 + 1), 0),
    "interrupted": (interrupted, 0),
    "in the midst": (in_the_midst, 0),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as an agent leaves it that was killed: most in the file, the newest in the log."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    folder.mkdir()
    now_ns = time.time_ns()

    def fill(first: int, last: int) -> None:
        with Spool(folder, 100 * MB) as spool:
            for number in range(first, last):
                spool.append(reading(number), now_ns - (READINGS - number))

    fill(0, 50)
    with Spool(folder, 100 * MB) as spool:
        batch = leased(spool, 30)
        spool.queue().settle(
            batch, now_ns, [Refusal(f"m f={n}i {now_ns}", "no") for n in range(REFUSED)]
        )
    spool = Spool(folder, 100 * MB)
    spool.close()

    def work() -> None:
        store = Spool(folder, 100 * MB)
        for number in range(50, READINGS):
            store.append(reading(number), now_ns - (READINGS - number))

    killed(work)
    return folder


@pytest.mark.parametrize(("damage", "lost"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_whatever_is_asked_first_of_a_damaged_store_the_agent_finds_all_that_is_left(
    whole: Path,
    tmp_path: Path,
    inside: Inside,
    command: tuple[str, ...],
    damage: Callable[[Path], object],
    lost: int,
) -> None:
    cli = Cli(tmp_path)
    shutil.copytree(whole, cli.data_dir)
    damage(cli.data_dir)
    done = inside(cli, *command)
    assert done.status in (0, 1)
    assert "Traceback" not in done.out + done.err
    if done.status == 1 and command != ("doctor",):
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
        retried = REFUSED if command[:2] == ("rejected", "retry") and done.status == 0 else 0
        assert found.points == 3 * READINGS
        assert found.delivered_points + found.lost.get("rejected", 0) == 30 - retried
