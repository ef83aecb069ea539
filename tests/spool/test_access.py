"""The files of a data directory: no link is followed, and no mode is wider than it should be."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.agent.session import AgentError, Session
from pipeline.settings import Settings
from pipeline.spool import DirectoryLock, Spool, SpoolError, SpoolReader, drop_rejected, holder
from tests.clocks import ManualClock
from tests.spool.stores import MB, contents, filled, salvaged, scribble

OTHER = 12345
SECRET = "what is root's alone\n"
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file elsewhere, to which a link could lead."""
    path = tmp_path / "elsewhere"
    path.write_text(SECRET)
    path.chmod(0o644)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(0o750)
    return folder


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def used(directory: Path) -> None:
    """Do with a data directory what an agent does with it from its start to its stop."""
    settings = Settings(data_dir=directory, spool_max_mb=1, http_port=0)
    session = Session(settings, lambda: settings, ManualClock())
    try:
        session.record()
    finally:
        session.stop()


def modes(directory: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in directory.iterdir()}


@pytest.mark.parametrize("name", ["agent.lock", "spool.db", "spool.db-wal", "spool.db-shm"])
def test_no_link_is_followed(data: Path, target: Path, name: str) -> None:
    if name in ("spool.db-wal", "spool.db-shm"):
        filled(data)
    (data / name).symlink_to(target)
    with pytest.raises(AgentError) as refused:
        used(data)
    assert str(refused.value) == (
        f"{data / name} is a link, and none is followed; move it away, or set another data_dir"
    )
    assert (target.read_text(), target.stat().st_mode & 0o777) == (SECRET, 0o644)


@pytest.mark.parametrize("name", ["spool.db.new", "spool.db.reserve"])
def test_a_link_in_place_of_what_is_made_anew_is_replaced(
    data: Path, target: Path, name: str
) -> None:
    (data / name).symlink_to(target)
    used(data)
    assert (target.read_text(), target.stat().st_mode & 0o777) == (SECRET, 0o644)
    assert not (data / name).is_symlink()


def test_no_link_is_followed_in_a_salvage(data: Path, target: Path) -> None:
    filled(data)
    scribble(data / "spool.db", 0, 16)
    (data / "spool.db.new").symlink_to(target)
    (data / "spool.db-wal").symlink_to(target)
    with pytest.raises(SpoolError, match=r"spool\.db-wal is a link, and none is followed"):
        Spool(data, MB)
    (data / "spool.db-wal").unlink()
    with Spool(data, MB) as spool:
        assert salvaged(spool).contents().ticks == 60
    assert target.read_text() == SECRET


READS: dict[str, Callable[[Path], object]] = {"read": SpoolReader, "write": drop_rejected}


@pytest.mark.slow
@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("name", ["spool.db", "spool.db-wal"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_command_opens_no_link_and_no_pipe(
    data: Path, target: Path, read: Callable[[Path], object], name: str, kind: str
) -> None:
    filled(data)
    path = data / name
    if path.exists():
        path.rename(target)
    path.symlink_to(target) if kind == "link" else os.mkfifo(path)
    with pytest.raises(SpoolError, match=f"{name} is (a link, .*|no regular file); move"):
        read(data)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_no_lock_that_an_agent_holds(
    data: Path, target: Path, kind: str
) -> None:
    path = data / "agent.lock"
    path.symlink_to(target) if kind == "link" else os.mkfifo(path)
    assert holder(data) is None
    with pytest.raises(SpoolError, match=r"agent\.lock is"):
        DirectoryLock(data, ManualClock())


@pytest.mark.usefixtures("_no_umask")
def test_modes_are_what_they_should_be_whatever_the_umask(tmp_path: Path) -> None:
    data = tmp_path / "new" / "below"
    used(data)
    assert (data.parent.stat().st_mode & 0o777, data.stat().st_mode & 0o777) == (0o755, 0o750)
    with Spool(data, MB):
        assert set(modes(data)) > {"agent.lock", "spool.db", "spool.db-wal", "spool.db.reserve"}
        assert set(modes(data).values()) == {"640"}
    scribble(data / "spool.db", 0, 16)
    with Spool(data, MB) as spool:
        salvaged(spool)
    assert any(name.startswith("spool.db.corrupt-") for name in modes(data))
    assert set(modes(data).values()) == {"640"}


def test_what_is_open_to_others_is_closed(data: Path) -> None:
    filled(data)
    used(data)
    data.chmod(0o777)
    for path in data.iterdir():
        path.chmod(0o666)
    used(data)
    assert data.stat().st_mode & 0o777 == 0o755
    assert set(modes(data).values()) == {"640"}
    # Nobody else can take the lock, and so keep the agent from starting.
    assert (data / "agent.lock").stat().st_mode & 0o007 == 0


LINKED = "mv $D $D.real; ln -s $D.real $D"
FOREIGN = {
    "folder": (f"chown {OTHER} $D", ""),
    "open folder": (f"chmod 777 $D; chown {OTHER} $D", ""),
    "store": (f"chown {OTHER} $D/spool.db", "/spool.db"),
    "lock": (f"chown {OTHER} $D/agent.lock", "/agent.lock"),
    "link": (f"{LINKED}; chown -h {OTHER} $D", ""),
    "beyond a link": (f"{LINKED}; chown {OTHER} $D.real", ".real"),
    "all": (f"chown -R {OTHER} $D", ""),
}


@pytest.mark.slow
@only_root
@pytest.mark.parametrize(("give", "foreign"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_another_user_can_change_is_refused_by_root_until_the_command_was_run(
    data: Path, give: str, foreign: str
) -> None:
    used(data)
    subprocess.run(["sh", "-c", give], env={**os.environ, "D": str(data)}, check=True)
    with pytest.raises(AgentError) as refused:
        used(data)
    told, command = str(refused.value).rsplit(": ", 1)
    assert told.startswith(
        f"data directory {data} cannot be used: {data}{foreign} belongs to {OTHER}"
    )
    assert "and root writes to nothing that others can change; run this as" in told
    assert contents(data).ticks == 1  # root reads what is another user's
    subprocess.run(["sh", "-c", command], check=True)
    used(data)
    assert contents(data).ticks == 2
