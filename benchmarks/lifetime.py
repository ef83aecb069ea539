"""An agent that lives through many readings in a short time; prints its memory on the way.

`python -m benchmarks.lifetime READINGS STEP` takes its settings from the environment.
"""

import os
import sys
import time
from pathlib import Path

import psutil

from benchmarks.fastclock import FastClock
from pipeline import collectors
from pipeline.agent import Agent
from pipeline.settings import load

_LOOK_S = 0.02
# Those that wait on the clock: for a tick, for a flush, for a sweep.
_THREADS = 3


def main(readings: int, step: int) -> None:
    """Take the readings, a second apart, up to about now."""
    settings = load(Path.cwd(), os.environ, collectors=collectors.names()).settings
    # Not in the future, of which the server's date would tell.
    clock = FastClock(_THREADS, time.time_ns() - readings * 10**9)
    agent = Agent(settings, clock=clock)
    itself = psutil.Process()
    agent.start()
    for wanted in range(step, readings + 1, step):
        while clock.monotonic() < wanted:
            time.sleep(_LOOK_S)
        print(wanted, itself.memory_info().rss, flush=True)  # noqa: T201  # for the one that asked
    # There is nothing to end well: its threads wait for a time that does not come.


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
