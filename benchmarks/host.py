"""What a reading costs as the host grows: `python -m benchmarks.host`."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

from benchmarks.bench import Bench, Subject, alone
from benchmarks.crowd import COLLECTORS, READINGS, SPACING_S
from benchmarks.programs import ENV
from benchmarks.tables import Row, Samples, Table

ADDED = {"processes": 1_000, "mounts": 200, "interfaces": 200}
_WITHIN_S = 120.0

TEXT = f"""\
{READINGS} readings, {SPACING_S:g} s apart, before and after something is added:
{ADDED["processes"]} sleeping processes; {ADDED["mounts"]} bind mounts of a folder, in a namespace
of mounts and processes; {ADDED["interfaces"]} ends of virtual cables (veth), in a namespace of the
network. The namespaces are made with `unshare`, as root or as a user who may; where that cannot be,
the rows stay empty, and so they do where the temporary folder is on a file system that the agent
leaves out, such as tmpfs. `max_series` is beyond these numbers."""


@dataclass(frozen=True)
class _Costs:
    """Processor time of readings, in ms, of one collector and of all; and its lines."""

    own: Samples
    every: Samples
    lines: int


def measure(bench: Bench) -> list[Table]:
    """Add to the host, one kind of thing after the other."""
    return [_measured(bench, what, number) for what, number in ADDED.items()]


def _measured(bench: Bench, what: str, number: int) -> Table:
    bench.say(f"a host with {number} more {what}")
    before = after = _Costs((), (), 0)
    each: Samples = ()
    try:
        before, after = _ask(what, number)
        each = (1000 * (median(after.own) - median(before.own)) / number,)
        why = ""
        if what != "processes" and after.lines - before.lines < number:
            before = after = _Costs((), (), 0)
            each = ()
            why = f"Not measured: the agent leaves out {what} such as can be made here."
    except (OSError, subprocess.SubprocessError) as error:
        why = f"Not measured: {_why(error)}"
    collector = COLLECTORS[what]
    return Table(
        f"Processor time of a reading with {number} more {what}",
        (
            Row(f"`{collector}`, before", "ms", before.own),
            Row(f"`{collector}`, after", "ms", after.own),
            Row("all collectors, before", "ms", before.every),
            Row("all collectors, after", "ms", after.every),
            Row(f"`{collector}`, for each that was added", "µs", each),
        ),
        why,
    )


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    return (said.strip().splitlines() or [str(error)])[-1] if said else str(error)


def _ask(what: str, number: int) -> tuple[_Costs, _Costs]:
    command = [sys.executable, "-m", "benchmarks.crowd", what, str(number)]
    if what != "processes":
        if (unshare := shutil.which("unshare")) is None:
            raise FileNotFoundError("there is no unshare")
        # The first process of a host decides which mounts are the host's.
        kind = ["--mount", "--pid", "--fork", "--mount-proc"] if what == "mounts" else ["--net"]
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = [unshare, *mapped, *kind, *command]
    done = subprocess.run(  # noqa: S603  # with a command of our own
        command, env=ENV, capture_output=True, text=True, timeout=_WITHIN_S, check=True
    )
    found = json.loads(done.stdout)
    before, after = (
        _Costs(tuple(own), tuple(every), lines)
        for own, every, lines in (found["before"], found["after"])
    )
    return before, after


SUBJECT = Subject("A reading, as the host grows", "host", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
