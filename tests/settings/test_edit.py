"""Editing a settings file: the value changes, and nothing else of the text."""

import os
import pwd
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import SettingsError
from pipeline.settings.config_files import SettingsFiles
from pipeline.settings.edit import edit, edited, ensure_writable

URL = "http://localhost:8086"
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SHIPPED = (Path(__file__).parents[2] / "settings.toml").read_text(encoding="utf-8")


def test_the_shipped_file_has_its_lines_uncommented_in_place() -> None:
    values = {
        "influxdb_url": URL, "influxdb_org": "lab", "mirrors.b.url": URL, "mirrors.b.org": "lab"
    }  # fmt: skip
    new = edited(SHIPPED, values)
    pairs = zip(SHIPPED.splitlines(), new.splitlines(), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ('# influxdb_url = ""', f'influxdb_url = "{URL}"'),
        ('# influxdb_org = ""', 'influxdb_org = "lab"'),
        ("# [mirrors.b]", "[mirrors.b]"),
        ('# url = ""', f'url = "{URL}"'),
        ('# org = ""', 'org = "lab"'),
    ]
    assert edited(new, values) == new


KEY = [
    ("", 'key = "U"\n'),
    ("a = 1", 'a = 1\nkey = "U"\n'),
    ('key = "old"  # it\'s "ours"\n', 'key = "U"  # it\'s "ours"\n'),
    ('key = "a#b"\n', 'key = "U"\n'),
    ("key = '''\nold\n''' # c\nx = 1\n", 'key = "U" # c\nx = 1\n'),
    ('KEY = "old"\n', 'KEY = "U"\n'),
    ('"key" = "old"\n', 'key = "U"\n'),
    ("a = 1\r\n# key = 'x'\r\n", 'a = 1\r\nkey = "U"\r\n'),
    # What only looks like the key: in prose, in a table, in a text of several lines.
    ("# key = the address\na = 1\n", '# key = the address\na = 1\nkey = "U"\n'),
    (
        'a = 1\n\n# about it\n[t]\nkey = "other"\n# key = ""\n',
        'a = 1\n\nkey = "U"\n\n# about it\n[t]\nkey = "other"\n# key = ""\n',
    ),
    ('a = """\nkey = "no"\n[no]\n"""\n', 'a = """\nkey = "no"\n[no]\n"""\nkey = "U"\n'),
    ("a = [\n  1,\n]\n[t]\n", 'a = [\n  1,\n]\nkey = "U"\n\n[t]\n'),
    ('key = "U"\n', 'key = "U"\n'),
]
OPTION = [
    ("", '[m.b]\nurl = "U"\n'),
    ("a = 1", 'a = 1\n\n[m.b]\nurl = "U"\n'),
    ('[m.b]\nurl = "old" # c\n[x]\n', '[m.b]\nurl = "U" # c\n[x]\n'),
    ('[M.b]\n\n"url" = "old"\n', '[M.b]\n\nurl = "U"\n'),
    ("[m.b]\n#url = 'x'\norg = 'o'\n", "[m.b]\nurl = \"U\"\norg = 'o'\n"),
    (
        '[m.b] # c\norg = "o"\n\n# about x\n[x]\nurl = "no"\n',
        '[m.b] # c\norg = "o"\nurl = "U"\n\n# about x\n[x]\nurl = "no"\n',
    ),
    (
        'a = """\n[m.b]\nurl = "no"\n"""\n[m.c]\nurl = "c"\n',
        'a = """\n[m.b]\nurl = "no"\n"""\n[m.c]\nurl = "c"\n\n[m.b]\nurl = "U"\n',
    ),
    ('[m.b]\norg = """\n\n[x]\n"""\n', '[m.b]\nurl = "U"\norg = """\n\n[x]\n"""\n'),
    ("# [m.b]\n# url = ''\n# org = ''\n", "[m.b]\nurl = \"U\"\n# org = ''\n"),
    ('m.b.org = "o"\n', 'm.b.org = "o"\nm.b.url = "U"\n'),
    ('m . "b".url = "o"\n', 'm.b.url = "U"\n'),
    ('[m]\nb.org = "o"\n', '[m]\nb.org = "o"\nb.url = "U"\n'),
    (
        "m = {b = {timeout_s = 2.5, verify_tls = false}} # c\n",
        'm = {b = {timeout_s = 2.5, verify_tls = false, url = "U"}} # c\n',
    ),
    ("[m]\nb = {url = 'x'}\n", '[m]\nb = {url = "U"}\n'),
]


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [*(("key", *row) for row in KEY), *(("m.b.url", *row) for row in OPTION)],
)
def test_a_value_is_replaced_uncommented_or_added(key: str, old: str, new: str) -> None:
    assert edited(old, {key: "U"}) == new
    assert edited(new, {key: "U"}) == new


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([SHIPPED, "", '[t]\nk = "v"\n', 'k = "a" # b\n', "x = '''\n[k]\nk = 1\n'''"]),
)
def test_every_text_is_read_back_as_it_was_given(value: str, old: str) -> None:
    new = edited(old, {"k": value, "m.b.k": value})
    assert tomllib.loads(new) == {**tomllib.loads(old), "k": value, "m": {"b": {"k": value}}}
    assert edited(new, {"m.b.k": value, "k": value}) == new


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0, 0o077])
def test_what_is_made_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    plain, secret = tmp_path / "a/b/settings.toml", tmp_path / "a/b/.secrets.toml"
    before = os.umask(umask)
    try:
        ensure_writable(plain)
        made = [edit(plain, {"a": "b"}), edit(secret, {"a": "b"}, secret=True)]
    finally:
        os.umask(before)
    again = [edit(plain, {"a": "b"}), edit(secret, {"a": "b"}, secret=True)]
    assert (made, again) == ([True, True], [False, False])
    assert (mode(plain), mode(secret)) == (0o644, 0o600)
    assert umask or (mode(tmp_path / "a"), mode(plain.parent)) == (0o755, 0o755)
    assert sorted(path.name for path in plain.parent.iterdir()) == [secret.name, plain.name]


@only_root
@pytest.mark.parametrize("new", ["b", "c"])
@pytest.mark.parametrize(
    ("owner", "secret", "before", "after"),
    [
        ((0, 0), True, 0o644, 0o600),
        ((0, 23456), True, 0o644, 0o640),  # it stays readable to its group
        ((12345, 23456), True, 0o644, 0o600),
        ((12345, 23456), False, 0o660, 0o660),
    ],
)
def test_a_link_an_owner_and_a_mark_at_the_start_stay_and_a_secret_is_closed_to_others(
    tmp_path: Path, owner: tuple[int, int], before: int, after: int, new: str, *, secret: bool
) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "settings.toml"
    real.write_text("\ufeff# mine\na = 'b'\n", encoding="utf-8")
    real.chmod(before)
    os.chown(real, *owner)
    link.symlink_to(real)
    assert edit(link, {"a": new}, secret=secret) is (secret or new == "c")
    assert not edit(link, {"a": new}, secret=secret)
    assert link.is_symlink()
    value = "'b'" if new == "b" else '"c"'
    assert real.read_text(encoding="utf-8") == f"\ufeff# mine\na = {value}\n"
    about = real.stat()
    assert (about.st_uid, about.st_gid, mode(real)) == (*owner, after)


@only_root
def test_a_secret_that_root_writes_is_for_the_group_of_the_data(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / ".secrets.toml"
    data.mkdir()
    daemon = pwd.getpwnam("daemon")
    for user, group, wanted in (
        (daemon.pw_uid, daemon.pw_gid, (0, daemon.pw_gid, 0o640)),
        (daemon.pw_uid, 23456, (0, 0, 0o600)),  # others may be in that group
        (12345, 23456, (0, 0, 0o600)),
        (0, 0, (0, 0, 0o600)),
    ):
        os.chown(data, user, group)
        edit(path, {"a": "b"}, secret=True, owner=data)
        edit(path, {"a": "c"}, secret=True)
        about = path.stat()
        assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == wanted
        path.unlink()


def test_a_source_that_wins_over_what_is_written_is_told(tmp_path: Path) -> None:
    local, credential = tmp_path / "settings.local.toml", tmp_path / "influxdb_token"
    local.write_text('influxdb_org = "mine"\n')
    credential.write_text("s3cret")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "METRICS_INFLUXDB_BUCKET": "b"}
    files = SettingsFiles(tmp_path, env, ())
    files.check({"org": "mine", "bucket": "b", "token": "s3cret"})
    for name, told in (
        ("org", f"{local} gives influxdb_org another value than setup would: take it"),
        ("token", f"{credential} gives influxdb_token another value than setup would"),
        ("bucket", "environment variable METRICS_INFLUXDB_BUCKET gives influxdb_bucket"),
    ):
        with pytest.raises(SettingsError, match=re.escape(told)):
            files.check({name: "another"})


def test_what_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")
    ensure_writable(path)
    path.chmod(0o444)
    with pytest.raises(PermissionError) as told:
        ensure_writable(path)
    assert told.value.filename == str(path)
    with pytest.raises(OSError, match="File exists"):
        ensure_writable(path / "below")
    assert [one.name for one in tmp_path.iterdir()] == ["settings.toml"]
