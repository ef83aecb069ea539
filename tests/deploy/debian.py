"""A Debian of this machine's own release, made by debootstrap and kept in the user's cache."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.influxd import binary

PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "ca-certificates",
    "python3-apt",
    "python3-venv",
    "sudo",
    "libfaketime",
]
_TOOLS = ("debootstrap", "systemd-nspawn", "mkfs.ext4", "nsenter", "dpkg-deb")
_SIZE = 3 * 2**30
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


class MissingError(Exception):
    """The machine cannot run such a test; the message says what it lacks."""


def command(*words: object, **options: object) -> str:
    """Run a command of this machine; return its output, and raise with it when it fails."""
    done = subprocess.run(  # type: ignore[call-overload]  # its options are passed on as they are
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}"
    said: str = done.stdout
    return said


def root() -> Path:
    """Return the folder of the Debian; it is never written to again.

    Raises:
        MissingError: It cannot be made here.
    """
    if os.geteuid() != 0:
        raise MissingError("this takes root: it makes a Debian root and starts machines of it")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise MissingError(f"not installed: {', '.join(missing)}; .ci/run installs them")
    cache = binary.cached(os.environ)
    folder = (cache.parent.parent if cache else Path("/var/tmp")) / f"debian-{_release()}-2"  # noqa: S108  # where there is no home
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "root"
            include = f"--include={','.join(PACKAGES)}"
            command("debootstrap", "--variant=minbase", include, _release(), made, _mirror())
            _as_this_machine(made, os.environ)
            made.rename(folder)
    return folder


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """Mount a copy on a disk of its own, so that it has a real file system as / and /home."""
    image, home, mounted = folder / "root.img", folder / "home.img", folder / "root"
    mounted.mkdir()
    for file, size in ((image, _SIZE), (home, 2**26)):
        file.touch()
        os.truncate(file, size)
    command("mkfs.ext4", "-q", "-d", root(), image)
    command("mkfs.ext4", "-q", home)
    command("mount", "-o", "loop", image, mounted)
    try:
        command("mount", "-o", "loop", home, mounted / "home")
        yield mounted
    finally:
        command("umount", "-R", "-l", mounted)


def _release() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values["VERSION_CODENAME"].strip('"')


def _mirror() -> str:
    """Return where this machine gets its own packages from."""
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    told = command("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    for line in told.splitlines():
        address, *place = line.split()
        if place == [_release(), "main"]:
            return address
    raise MissingError("apt knows no mirror of this machine's own release")


def _as_this_machine(made: Path, environ: Mapping[str, str]) -> None:
    """Let pip reach what it reaches here, by the same ways."""
    given = {"cert": "PIP_CERT", "index-url": "PIP_INDEX_URL", "proxy": "PIP_PROXY"}
    lines = [f"{key} = {environ[name]}" for key, name in given.items() if environ.get(name)]
    (made / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    shutil.copyfile(f"/{_CERTIFICATES}", made / _CERTIFICATES)
    (made / "etc/machine-id").write_text("")
    shutil.rmtree(made / "var/cache/apt/archives", ignore_errors=True)
