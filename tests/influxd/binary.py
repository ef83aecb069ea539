"""Finding an influxd to run."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.influxd.server import UnavailableError

VERSION = "2.7.12"
_ASK_WITHIN_S = 120.0


def cached(environ: Mapping[str, str]) -> Path | None:
    """Returns where `make influxd` puts it, None where there is no home either."""
    return in_cache(environ, f"influxd-{VERSION}/influxd")


def in_cache(environ: Mapping[str, str], name: str) -> Path | None:
    """Returns where a program of that name is in the user's cache, None where there is no home."""
    if cache := environ.get("XDG_CACHE_HOME"):
        folder = Path(cache)
    elif home := environ.get("HOME"):
        folder = Path(home) / ".cache"
    else:
        return None
    return folder / "metrics-pipeline" / name


def is_influxdb_2(binary: Path) -> bool:
    """Tells whether the program runs here and is of version 2: there are 1 and 3 of that name."""
    try:
        said = subprocess.run(
            [binary, "version"], capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.match(r"InfluxDB v?2\.", said.stdout) is not None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if found := shutil.which("influxd", path=environ.get("PATH", "")):
        yield Path(found)
    if path := cached(environ):
        yield path


def find(environ: Mapping[str, str]) -> Path:
    """Returns an influxd 2 that is on PATH or in the user's cache.

    Args:
        environ: The environment that PATH and the cache are taken from.

    Raises:
        UnavailableError: There is none.
    """
    for candidate in _candidates(environ):
        if candidate.exists() and is_influxdb_2(candidate):
            return candidate
    raise UnavailableError("no influxd of version 2 is on PATH or in the user's cache")
