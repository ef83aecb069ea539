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
SHIPPED = (Path(__file__).parents[2] / "settings.toml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> list[tuple[str, str]]:
    """The lines that differ, pairwise; both texts must have as many."""
    before, after = old.splitlines(), new.splitlines()
    return [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]


def test_the_shipped_file_has_its_lines_uncommented_in_place() -> None:
    new = edited(SHIPPED, {"influxdb_url": URL, "influxdb_org": "lab"})
    assert changed(SHIPPED, new) == [
        ('# influxdb_url = ""', f'influxdb_url = "{URL}"'),
        ('# influxdb_org = ""', 'influxdb_org = "lab"'),
    ]
    assert edited(new, {"influxdb_url": URL, "influxdb_org": "lab"}) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", 'influxdb_url = "U"\n'),
        ("a = 1", 'a = 1\ninfluxdb_url = "U"\n'),
        ('influxdb_url = "old"  # it\'s "ours"\n', 'influxdb_url = "U"  # it\'s "ours"\n'),
        ('influxdb_url = "a#b"\n', 'influxdb_url = "U"\n'),
        ("influxdb_url = '''\nold\n''' # c\nx = 1\n", 'influxdb_url = "U" # c\nx = 1\n'),
        ('INFLUXDB_URL = "old"\n', 'INFLUXDB_URL = "U"\n'),
        ('"influxdb_url" = "old"\n', 'influxdb_url = "U"\n'),
        ("a = 1\r\n# influxdb_url = 'x'\r\n", 'a = 1\r\ninfluxdb_url = "U"\r\n'),
        # What only looks like the key: in prose, in a table, in a text of several lines.
        (
            "# influxdb_url = the address\na = 1\n",
            '# influxdb_url = the address\na = 1\ninfluxdb_url = "U"\n',
        ),
        (
            'a = 1\n\n# about it\n[t]\ninfluxdb_url = "other"\n# influxdb_url = ""\n',
            'a = 1\n\ninfluxdb_url = "U"\n\n# about it\n[t]\n'
            'influxdb_url = "other"\n# influxdb_url = ""\n',
        ),
        (
            'a = """\ninfluxdb_url = "no"\n[no]\n"""\n',
            'a = """\ninfluxdb_url = "no"\n[no]\n"""\ninfluxdb_url = "U"\n',
        ),
        ("a = [\n  1,\n]\n[t]\n", 'a = [\n  1,\n]\ninfluxdb_url = "U"\n\n[t]\n'),
        ('influxdb_url = "U"\n', 'influxdb_url = "U"\n'),
    ],
)
def test_a_key_is_replaced_uncommented_or_added(old: str, new: str) -> None:
    assert edited(old, {"influxdb_url": "U"}) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", '[mirrors.b]\nurl = "U"\n'),
        ("a = 1", 'a = 1\n\n[mirrors.b]\nurl = "U"\n'),
        ('[mirrors.b]\nurl = "old" # c\n[x]\n', '[mirrors.b]\nurl = "U" # c\n[x]\n'),
        ('[Mirrors.b]\n\n"url" = "old"\n', '[Mirrors.b]\n\nurl = "U"\n'),
        ("[mirrors.b]\n#url = 'x'\norg = 'o'\n", "[mirrors.b]\nurl = \"U\"\norg = 'o'\n"),
        (
            '[mirrors.b] # c\norg = "o"\n\n# about x\n[x]\nurl = "no"\n',
            '[mirrors.b] # c\norg = "o"\nurl = "U"\n\n# about x\n[x]\nurl = "no"\n',
        ),
        (
            'a = """\n[mirrors.b]\nurl = "no"\n"""\n[mirrors.c]\nurl = "c"\n',
            'a = """\n[mirrors.b]\nurl = "no"\n"""\n[mirrors.c]\nurl = "c"\n\n'
            '[mirrors.b]\nurl = "U"\n',
        ),
        (
            '[mirrors.b]\norg = """\n\n[x]\n"""\n',
            '[mirrors.b]\nurl = "U"\norg = """\n\n[x]\n"""\n',
        ),
        ("# [mirrors.b]\n# url = ''\n# org = ''\n", "[mirrors.b]\nurl = \"U\"\n# org = ''\n"),
        ('mirrors.b.org = "o"\n', 'mirrors.b.org = "o"\nmirrors.b.url = "U"\n'),
        ('mirrors . "b".url = "o"\n', 'mirrors.b.url = "U"\n'),
        ('[mirrors]\nb.org = "o"\n', '[mirrors]\nb.org = "o"\nb.url = "U"\n'),
        (
            "mirrors = {b = {timeout_s = 2.5, verify_tls = false}} # c\n",
            'mirrors = {b = {timeout_s = 2.5, verify_tls = false, url = "U"}} # c\n',
        ),
        ("[mirrors]\nb = {url = 'x'}\n", '[mirrors]\nb = {url = "U"}\n'),
    ],
)
def test_an_option_of_a_table_is_replaced_uncommented_or_added(old: str, new: str) -> None:
    assert edited(old, {"mirrors.b.url": "U"}) == new
    assert edited(new, {"mirrors.b.url": "U"}) == new


def test_a_table_of_the_shipped_file_is_uncommented_in_place() -> None:
    new = edited(SHIPPED, {"mirrors.b.url": URL, "mirrors.b.org": "lab"})
    assert changed(SHIPPED, new) == [
        ("# [mirrors.b]", "[mirrors.b]"),
        ('# url = ""', f'url = "{URL}"'),
        ('# org = ""', 'org = "lab"'),
    ]


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([SHIPPED, "", '[t]\nk = "v"\n', 'k = "a" # b\n', "x = '''\n[k]\nk = 1\n'''"]),
)
def test_every_text_is_read_back_as_it_was_given(value: str, old: str) -> None:
    new = edited(old, {"k": value, "m.b.k": value})
    assert tomllib.loads(new) == {**tomllib.loads(old), "k": value, "m": {"b": {"k": value}}}
    assert edited(new, {"m.b.k": value, "k": value}) == new


def test_a_file_is_made_with_its_mode(tmp_path: Path) -> None:
    plain, secret = tmp_path / "settings.toml", tmp_path / ".secrets.toml"
    assert edit(plain, {"a": "b"})
    assert edit(secret, {"a": "b"}, secret=True)
    assert [path.stat().st_mode & 0o777 for path in (plain, secret)] == [0o644, 0o600]
    assert not edit(plain, {"a": "b"})
    assert not edit(secret, {"a": "b"}, secret=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".secrets.toml", "settings.toml"]


def test_what_is_made_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    plain, secret = tmp_path / "a/b/settings.toml", tmp_path / "a/b/.secrets.toml"
    before = os.umask(0)
    try:
        ensure_writable(plain)
        edit(plain, {"a": "b"})
        edit(secret, {"a": "b"}, secret=True)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "a", plain.parent, plain, secret)]
    assert modes == [0o755, 0o755, 0o644, 0o600]


@pytest.mark.parametrize("values", [{"a": "b"}, {"a": "c"}])
def test_a_secret_that_others_may_read_is_closed_to_them(
    tmp_path: Path, values: dict[str, str]
) -> None:
    path = tmp_path / ".secrets.toml"
    path.write_text('a = "b"\n')
    path.chmod(0o644)
    assert edit(path, values, secret=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == f'a = "{values["a"]}"\n'


def test_a_link_and_a_mode_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "settings.toml"
    real.write_text("# mine\n")
    real.chmod(0o660)
    link.symlink_to(real)
    assert edit(link, {"a": "b"})
    assert link.is_symlink()
    assert real.read_text() == '# mine\na = "b"\n'
    assert real.stat().st_mode & 0o777 == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / ".secrets.toml"
    path.write_text("")
    path.chmod(0o600)
    os.chown(path, 12345, 23456)
    edit(path, {"a": "b"}, secret=True)
    about = path.stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (12345, 23456, 0o600)


def test_a_mark_at_the_start_stays(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("\ufeff# a = ''\n", encoding="utf-8")
    assert edit(path, {"a": "b"})
    assert not edit(path, {"a": "b"})
    assert path.read_text(encoding="utf-8") == '\ufeffa = "b"\n'


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


def test_a_file_of_roots_stays_readable_to_its_group(tmp_path: Path) -> None:
    path = tmp_path / ".secrets.toml"
    path.write_text('a = "b"\n')
    path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(path, 0, 23456)
    edit(path, {"a": "c"}, secret=True)
    assert path.stat().st_mode & 0o777 == (0o640 if os.geteuid() == 0 else 0o600)


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
