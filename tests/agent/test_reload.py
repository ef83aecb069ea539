"""Files of settings that change, looked at by hand."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from pipeline.agent.reload import Reload
from pipeline.health import Trouble
from pipeline.settings import Files, Settings, SettingsError
from tests.clocks import ManualClock

TOKEN = "k3y-nobody-may-see"


class Bench:
    """The files, and who follows them."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.toml = folder / "settings.toml"
        self.secrets = folder / ".secrets.toml"
        self.files = Files(folder, {"HOME": "/home/x", **environ}, ("cpu", "disk"))
        self.taken: list[Settings] = []
        self.troubles: list[str | None] = [None]
        self.trouble = Trouble(lambda trouble: self.troubles.append(trouble.reason))
        self.clock = ManualClock()
        self.wake = Event()

    def follow(self) -> Reload:
        self.files.load()
        return Reload(self.files, self.clock, self.taken.append, self.trouble)

    def looks(self, reload: Reload, *edits: Callable[[], object]) -> None:
        """Let it look once and once more before, between and after the edits."""
        stop = Event()
        pending = list(edits)

        def edit(waits: int) -> None:
            if waits % 3 == 0 and pending:
                pending.pop(0)()
            elif waits >= 3 * (len(edits) + 2):
                stop.set()

        self.clock.waits.clear()
        self.clock.on_wait = edit
        reload.run(stop, self.wake)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o077)  # secrets that others can read would be told
    yield
    os.umask(before)


def test_a_change_is_taken_as_a_whole_and_told_with_its_sources(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.toml.write_text("http_port = 1\nspool_max_mb = 2")
    reload = bench.follow()
    bench.looks(
        reload,
        lambda: bench.toml.write_text("http_port = 3\n[collectors.cpu]\nenabled = false"),
        lambda: bench.secrets.write_text("retention_hours = 24"),
    )
    first, second = bench.taken
    assert (first.http_port, first.spool_max_mb, first.retention_hours) == (3, 1024, 168)
    assert first.collectors["cpu"].enabled is False
    assert (second.http_port, second.retention_hours) == (3, 24)
    toml, secrets = bench.toml, bench.secrets
    assert caplog.messages == [
        f"Setting spool_max_mb: 2 ({toml}) becomes 1024 (default)",
        f"Setting http_port: 1 ({toml}) becomes 3 ({toml})",
        f"Setting collectors.cpu: - (default) becomes {{enabled = false}} ({toml})",
        f"Setting retention_hours: 168 (default) becomes 24 ({secrets})",
    ]


def test_of_a_table_the_log_has_the_options_that_change_and_no_secret(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    server = "url = '{}'\norg = 'o'\nbucket = 'b'\n"
    main = "influxdb_url = 'http://m'\ninfluxdb_org = 'o'\ninfluxdb_bucket = 'm'\n"
    tokens = "influxdb_token = '{0}'\n[mirrors.b]\ntoken = '{0}'\n"
    bench.toml.write_text(f"{main}[mirrors.b]\n{server.format('http://b')}")
    bench.secrets.write_text(tokens.format(TOKEN))
    reload = bench.follow()
    bench.toml.write_text(f"{main}[mirrors.b]\n{server.format('http://c')}verify_tls = false")
    bench.secrets.write_text(tokens.format(f"other-{TOKEN}"))
    assert reload.read()
    bench.toml.write_text(main)
    bench.secrets.write_text(f"influxdb_token = 'other-{TOKEN}'")
    assert reload.read()
    toml, secrets = bench.toml, bench.secrets
    assert caplog.messages[:4] == [
        f"Setting influxdb_token: ******** ({secrets}) becomes ******** ({secrets})",
        f"Setting mirrors.b.url: http://b ({toml}) becomes http://c ({toml})",
        f"Setting mirrors.b.token: ******** ({secrets}) becomes ******** ({secrets})",
        f"Setting mirrors.b.verify_tls: true (default) becomes false ({toml})",
    ]
    (removed,) = caplog.messages[4:]
    assert removed.startswith('Setting mirrors.b: {url = "http://c", org = "o", ')
    assert removed.endswith(") becomes - (default)")
    assert TOKEN not in caplog.text


def test_a_file_that_is_swapped_by_a_symbolic_link_is_seen(bench: Bench, tmp_path: Path) -> None:
    # As Kubernetes mounts a ConfigMap: the files are links into ..data, which is a link itself.
    def publish(port: int) -> None:
        folder = tmp_path / f"..{port}"
        folder.mkdir()
        (folder / "settings.toml").write_text(f"http_port = {port}")
        (tmp_path / "next").symlink_to(folder.name)
        (tmp_path / "next").rename(tmp_path / "..data")

    publish(1)
    bench.toml.symlink_to("..data/settings.toml")
    bench.looks(bench.follow(), lambda: publish(2))
    assert [settings.http_port for settings in bench.taken] == [2]


def test_a_file_that_is_being_written_is_read_when_it_is_at_rest(bench: Bench) -> None:
    bench.toml.write_text("http_port = 1")
    bench.follow()
    assert not bench.files.changed()
    for text in ("h", "http_port =", "http_port = 2"):
        bench.toml.write_text(text)
        assert not bench.files.changed()
    assert bench.files.changed()
    assert bench.files.reload().settings.http_port == 2
    assert not bench.files.changed()


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_text(""), "is empty"),
    "blank": (lambda path: path.write_text(" \n\t\n"), "is empty"),
    "gone": (lambda path: path.unlink(), "is gone"),
    "half": (lambda path: path.write_text('host = "h'), "not valid TOML"),
    "half a table": (lambda path: path.write_text("http_port = 1\n[collect"), "not valid TOML"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), "not valid TOML"),
    "range": (lambda path: path.write_text("http_port = -1"), "http_port = -1 must be"),
    "type": (lambda path: path.write_text('http_port = "1"'), "without quotes"),
    "unknown": (lambda path: path.write_text("http_prot = 1"), "did you mean http_port?"),
    "folder": (to_folder, ""),
    "loop": (to_loop, ""),
}


@pytest.mark.parametrize(("edit", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_edit_changes_nothing_is_told_once_and_heals_by_itself(
    bench: Bench, caplog: pytest.LogCaptureFixture, edit: Callable[[Path], object], says: str
) -> None:
    bench.toml.write_text("http_port = 7")
    reload = bench.follow()
    bench.looks(reload, lambda: edit(bench.toml))
    assert bench.taken == []
    trouble = bench.troubles[-1]
    assert trouble is not None
    assert says in trouble
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert told.getMessage().startswith(f"The settings stay as they are: {bench.toml}: ")
    bench.looks(reload)
    assert len(caplog.records) == 1  # it is told once, however long it lasts

    def mend() -> None:
        if bench.toml.is_dir():
            bench.toml.rmdir()
        bench.toml.unlink(missing_ok=True)
        bench.toml.write_text("http_port = 8")

    bench.looks(reload, mend)
    assert [settings.http_port for settings in bench.taken] == [8]
    assert bench.troubles[-1] is None
    assert caplog.messages[1] == "The settings can be used again"


def test_a_file_that_comes_back_as_it_was_heals_without_a_change(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.toml.write_text("http_port = 7")
    reload = bench.follow()
    bench.looks(reload, lambda: bench.toml.unlink(), lambda: bench.toml.write_text("http_port = 7"))
    assert bench.taken == []
    assert bench.troubles[-1] is None
    assert caplog.messages[-1] == "The settings can be used again"


@pytest.mark.parametrize("name", ["settings.local.toml", ".secrets.toml", "influxdb_token"])
def test_every_file_that_is_looked_for_is_watched(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path))
    reload = bench.follow()
    path = tmp_path / name
    text = "{}" if name == "influxdb_token" else 'influxdb_token = "{}"'
    edits = [lambda token=token: path.write_text(text.format(token)) for token in ("old", "new")]
    bench.looks(reload, *edits, path.unlink)
    assert [settings.influxdb_token for settings in bench.taken] == ["old", "new"]
    assert bench.troubles[-1] == f"{path}: is gone; to do without it, restart the agent"


def test_what_a_file_may_be(tmp_path: Path) -> None:
    bench = Bench(tmp_path, METRICS_RETENTION_HOURS="5")
    bench.secrets.write_text("")  # empty from the start
    reload = bench.follow()
    for text in ("http_port = 1\nretention_hours = 6", "# http_port = 1"):  # it was not there
        bench.toml.write_text(text)
        assert reload.read()
    taken = [(settings.http_port, settings.retention_hours) for settings in bench.taken]
    assert taken == [(1, 5), (Settings().http_port, 5)]  # the environment is that of the start


def test_what_is_wrong_outside_the_files_heals_without_an_edit(
    bench: Bench, tmp_path: Path
) -> None:
    reload = bench.follow()
    certificate = tmp_path / "ca.pem"
    bench.toml.write_text(f'influxdb_ca_cert = "{certificate}"')
    assert not reload.read()
    certificate.touch()
    bench.looks(reload, *[lambda: None] * 5)
    assert [settings.influxdb_ca_cert for settings in bench.taken] == [certificate]


def test_what_needs_a_restart_is_told_once_with_the_list_and_the_rest_is_taken(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.toml.write_text('data_dir = "/one"')
    reload = bench.follow()
    for port in (1, 2):
        bench.toml.write_text(f'data_dir = "/two"\nhttp_port = {port}')
        reload.read()
    assert [(str(one.data_dir), one.http_port) for one in bench.taken] == [("/one", 1), ("/one", 2)]
    (told,) = [text for text in caplog.messages if "needs a restart" in text]
    assert told == (
        f"data_dir = /two ({bench.toml}) needs a restart of the agent (these do: data_dir); "
        "until then it is /one"
    )
    bench.toml.write_text('data_dir = "/one"\nhttp_port = 2')
    assert not reload.read()


def test_to_peek_is_not_to_take(bench: Bench) -> None:
    bench.toml.write_text("http_port = 1")
    bench.follow()
    bench.toml.write_text("http_port = 2")
    assert bench.files.peek().http_port == 2
    bench.files.changed()
    assert bench.files.changed()
    bench.toml.write_text("http_port = -2")
    with pytest.raises(SettingsError):
        bench.files.peek()


def test_files_are_read_when_that_is_asked_for_and_it_is_told_that_nothing_changed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.toml.write_text("http_port = 1")
    reload = bench.follow()
    bench.looks(reload, bench.wake.set)
    assert caplog.messages == ["The settings have not changed"]
    assert not bench.wake.is_set()
    bench.toml.write_text("http_port = 2")
    bench.looks(reload, bench.wake.set)
    assert [settings.http_port for settings in bench.taken] == [2]


@pytest.mark.slow
def test_what_lasts_is_told_once_in_a_hundred_looks_and_again_when_it_comes_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.toml.write_text('data_dir = "/one"')
    reload = bench.follow()
    for _ in range(2):
        bench.secrets.write_text("")
        bench.secrets.chmod(0o644)
        bench.toml.write_text('data_dir = "/two"')
        for _ in range(100):
            reload.read()
        bench.secrets.chmod(0o600)
        bench.toml.write_text('data_dir = "/one"')
        reload.read()
    told = [text.partition(" (")[0] for text in caplog.messages]
    assert told == [f"{bench.secrets} holds secrets and is open to others", "data_dir = /two"] * 2
