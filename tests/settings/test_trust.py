"""Settings that others can change: root refuses them, everybody else is warned."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.settings import Loaded, SettingsError, load

OTHER = 12345
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Config:
    """A folder of settings that nobody else can change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(0o755)
        self.toml = self.write("settings.toml")

    def write(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def linked(self) -> Path:
        """Move settings.toml into a folder of its own, and leave a link; return that folder."""
        real = self.folder.parent / "real"
        real.mkdir(0o755)
        self.toml.rename(real / "a.toml")
        self.toml.symlink_to(real / "a.toml")
        return real

    def load(self) -> Loaded:
        return load(self.folder, {"METRICS_DATA_DIR": str(self.folder)})

    def refused(self) -> str:
        """Run the command that the refusal names; return why it was one."""
        with pytest.raises(SettingsError) as caught:
            self.load()
        (sentence,) = caught.value.problems
        message, command = sentence.rsplit(": ", 1)
        subprocess.run(["sh", "-c", command], check=True)
        return message


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "config")


def given_away(path: Path) -> Path:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    return path


def opened(path: Path, mode: int, group: int = 0) -> Path:
    os.chown(path, 0, group)
    path.chmod(mode)
    return path


FOREIGN, OPEN = "belongs to 12345", "can be written by others (mode {})"
BOTH = f"{FOREIGN} and {OPEN.format(666)}"
EXPOSED: list[tuple[Callable[[Config], Path], str]] = [
    (lambda config: given_away(config.toml), FOREIGN),
    (lambda config: given_away(config.write("settings.local.toml")), FOREIGN),
    (lambda config: given_away(config.write(".secrets.toml", mode=0o600)), FOREIGN),
    (lambda config: opened(config.toml, 0o666), OPEN.format(666)),
    (lambda config: opened(config.toml, 0o664, OTHER), OPEN.format(664)),
    (lambda config: given_away(config.folder), FOREIGN),
    (lambda config: opened(config.folder, 0o777), OPEN.format(777)),
    (lambda config: given_away(opened(config.folder, 0o1777)), FOREIGN),  # sticky
    (lambda config: (config.linked(), given_away(config.toml))[1], FOREIGN),
    (lambda config: opened(config.linked(), 0o777), OPEN.format(777)),
    (lambda config: given_away(opened(config.toml, 0o666)), BOTH),
]


@only_root
@pytest.mark.parametrize(("expose", "how"), EXPOSED)
def test_what_others_can_change_is_refused_by_root_until_the_command_was_run(
    config: Config, expose: Callable[[Config], Path], how: str
) -> None:
    path = expose(config)
    why = f"{path} {how}, and root takes no settings that others can change"
    assert config.refused() == why
    config.load()


@only_root
def test_the_agents_user_reads_on_what_is_roots_again(config: Config) -> None:
    secrets, agent = config.write(".secrets.toml", mode=0o600), pwd.getpwnam("daemon")
    os.chown(secrets, agent.pw_uid, agent.pw_gid)
    config.refused()
    assert (config.load().readable, secrets.stat().st_mode & 0o777) == ((), 0o640)


def kubernetes(config: Config) -> None:
    version = config.write("..2026/settings.toml").parent
    opened(version, 0o2755, 8687)
    (config.folder / "..data").symlink_to(version.name)
    config.toml.unlink()
    config.toml.symlink_to("..data/settings.toml")
    opened(config.folder, 0o3777, 8687)


@only_root
@pytest.mark.parametrize(
    "lay_out",
    [
        kubernetes,
        lambda config: opened(opened(config.toml, 0o664).parent, 0o775),  # a clone of git's
        lambda config: opened(config.write(".secrets.toml"), 0o640, 8687),  # the package
        lambda config: shutil.rmtree(config.folder),
    ],
)
def test_what_is_roots_alone_is_taken(config: Config, lay_out: Callable[[Config], object]) -> None:
    lay_out(config)
    loaded = config.load()
    assert (loaded.changeable, loaded.readable) == ((), ())


@pytest.mark.usefixtures("_log_restored")
@only_root
@pytest.mark.parametrize(
    "words",
    [
        *("run", "once", "status", "show", "setup --url http://127.0.0.1:1", "settings check"),
        *("settings show", "retention plan", "retention apply", "rejected list", "rehearse"),
        "doctor",
    ],
)
def test_every_command_refuses_them(config: Config, words: str) -> None:
    given_away(config.toml)
    done = CliRunner().invoke(main, ["--config-dir", str(config.folder), *words.split()])
    assert done.exit_code == (1 if words == "doctor" else os.EX_CONFIG)
    told = f"{config.toml} belongs to 12345, and root takes no settings that others can change"
    assert told in done.output


@only_root
def test_everybody_else_is_warned_and_trusts_root(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = given_away(config.write(".secrets.toml", mode=0o666))
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    (changeable,), (readable,) = config.load().changeable, config.load().readable
    fix = f"chown daemon {secrets} && chmod go-w {secrets}"
    assert str(changeable) == f"{secrets} {BOTH}: {fix}"
    assert str(readable) == (
        f"{secrets} holds secrets and is open to others (mode 666): chmod 600 {secrets}"
    )
    options = ("--config-dir", str(config.folder))
    done = CliRunner().invoke(main, [*options, "settings", "check"])
    assert (done.exit_code, done.stderr) == (0, f"metrics-pipeline: {changeable}\n")
    done = CliRunner().invoke(main, [*options, "setup", "--url", "http://127.0.0.1:1"])
    assert done.stderr.startswith(f"metrics-pipeline: {changeable}\n")
