"""Read page by page, a whole database gives what SQLite gives."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.spool.salvage.pages import Pages
from pipeline.spool.salvage.wal import read_log

pytestmark = pytest.mark.slow  # much to write, and to break

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.binary(max_size=20),
    st.integers(0, 20_000).map(lambda size: b"x" * size),  # which goes on in overflow pages
)


def rows(path: Path, columns: int) -> Counter[tuple[object, ...]]:
    with Pages(path) as pages:
        found = [
            row
            for row in pages.rows(pages.following(0, 10**9), readings=False)
            if len(row.values) == columns
        ]
    return Counter((row.rowid, *map(repr, row.values)) for row in found)


@given(
    st.sampled_from([512, 1024, 4096, 65536]),
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=60),
    st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), VALUES),
    st.integers(0, 60),
)
@settings(max_examples=40)
def test_every_row_is_read_as_sqlite_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    page: int,
    threes: list[tuple[object, ...]],
    twos: dict[str, object],
    deleted: int,
) -> None:
    path = tmp_path_factory.mktemp("pages") / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            f"PRAGMA page_size = {page}; PRAGMA auto_vacuum = INCREMENTAL;"
            "PRAGMA journal_mode = WAL; CREATE TABLE three (a, b, c);"
            "CREATE TABLE two (k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        )
        db.executemany("INSERT INTO three VALUES (?, ?, ?)", threes)
        db.executemany("INSERT INTO two VALUES (?, ?)", twos.items())
        db.execute("DELETE FROM three WHERE rowid <= ?", (deleted,))
        expected = [
            Counter((row[0], *map(repr, row[1:])) for row in db.execute(query))
            for query in ("SELECT rowid, * FROM three", "SELECT NULL, * FROM two")
        ]
        assert not read_log(Path(f"{path}-wal"), page).damaged
        assert [rows(path, 3), rows(path, 2)] == expected
    assert [rows(path, 3), rows(path, 2)] == expected


def test_a_chain_of_pages_that_bites_its_tail_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE three (a, b, c)")
        db.execute("INSERT INTO three VALUES (1, 2, zeroblob(20000))")
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 4] = (page + 1).to_bytes(4, "big")
    path.write_bytes(data)
    assert sum(rows(path, 3).values()) <= 1


@pytest.mark.parametrize(("at", "noise"), [(0, b"\xff" * 9), (3, b"\x0a")], ids=["length", "kind"])
def test_a_row_that_cannot_be_read_costs_itself(tmp_path: Path, at: int, noise: bytes) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE three (a, b, c)")
        long = b"z" * 20_000  # which goes on in overflow pages
        db.executemany("INSERT INTO three VALUES (?, ?, ?)", [(1, "x" * 9, "y"), (2, long, 3)])
    data = bytearray(path.read_bytes())
    cell = 4096 + int.from_bytes(data[4096 + 8 : 4096 + 10], "big") + at
    path.write_bytes(data[:cell] + noise + data[cell + len(noise) :])
    assert [row[:2] for row in rows(path, 3)] == [(2, "2")]
    path.write_bytes(data[: 2 * 4096])
    assert [row[:2] for row in rows(path, 3)] == [(1, "1")]
