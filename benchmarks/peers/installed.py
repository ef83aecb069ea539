"""Peers as programs on this machine: where they are in the cache, and which ones they are."""

import os
import re
import subprocess
from pathlib import Path

from tests.influxd.binary import in_cache

_ASK_WITHIN_S = 30.0


def cached(peer: str, program: str) -> Path | None:
    """Return a program that the script of a peer put into the user's cache; None: it is not there.

    Args:
        peer: `telegraf` or `glances`; its script names the version.
        program: Its path in the folder of that version.
    """
    script = Path(__file__).with_name(f"{peer}.sh").read_text(encoding="utf-8")
    (version,) = re.findall(r"^readonly VERSION=([\d.]+)", script, re.MULTILINE)
    there = in_cache(os.environ, f"{peer}-{version}/{program}")
    return there if there and os.access(there, os.X_OK) else None


def version(binary: Path | None, option: str, text: str, *, check: bool = True) -> str | None:
    """Return which one a program is, such as `1.37.2`.

    Args:
        binary: The program; None where it is missing, as is its version then.
        option: Makes it say that.
        text: What stands before it there.
        check: Whether it must end well.
    """
    if binary is None:
        return None
    said = subprocess.run(  # noqa: S603  # the program that is measured
        [binary, option], capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=check
    )
    found = re.search(rf"{text}(\d+\.\d+\.\d+)", said.stdout)
    return found[1] if found else "unknown"
