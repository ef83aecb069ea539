"""What a subject is, and what each of them needs: a folder, a server, and somebody to tell."""

import functools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.machine import described
from benchmarks.tables import Part, terminal
from tests.influxd import api, ways
from tests.influxd.api import Bucket
from tests.influxd.server import InfluxServer

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own in it
# A week of readings takes less than half of this.
_NEEDED = 3 * 2**30


class Bench:
    """A place to measure at; see `opened`.

    Args:
        folder: An empty folder.
        stack: Ends what is begun here.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._began = time.monotonic()
        self._buckets = 0

    def say(self, what: str) -> None:
        """Tell what is being done, and when."""
        click.echo(f"[{time.monotonic() - self._began:4.0f} s] {what}", err=True)

    def place(self, name: str) -> Path:
        """Make an empty folder; programs that read paths out of lists take its name as it is."""
        place = self._folder / re.sub(r"[^\w-]+", "-", name)
        place.mkdir()
        return place

    @contextmanager
    def swift(self, name: str) -> Iterator[Path]:
        """Make an empty folder where a sync costs nothing, if there is such a place.

        It is for what is made or lived through, and never for what is timed. It is gone at the end.
        """
        is_room = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _NEEDED
        within = _IN_MEMORY if is_room else self._folder
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=within) as place:
            yield Path(place).resolve()

    @functools.cached_property
    def empty(self) -> Path:
        """A folder that stays empty, such as for settings that are not there."""
        return self.place("empty")

    @functools.cached_property
    def server(self) -> InfluxServer:
        """The disposable InfluxDB, from the first use on."""
        return self._stack.enter_context(ways.disposable(os.environ, self.place("influxd")))

    @contextmanager
    def bucket(self, name: str = "") -> Iterator[Bucket]:
        """Make an empty bucket; it is gone at the end.

        Args:
            name: Tells it from others; by default no two have the same.
        """
        self._buckets += 1
        name = f"bench-{os.getpid()}-{name or self._buckets}"
        bucket = api.create_bucket(self.server, name)
        try:
            yield bucket
        finally:
            api.delete_bucket(self.server, name)


@contextmanager
def opened() -> Iterator[Bench]:
    """Give a place to measure at; nothing of it is left at the end."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        yield Bench(Path(name).resolve(), stack)


@dataclass(frozen=True)
class Subject:
    """Something that is measured.

    Attributes:
        title: What it is called in the document.
        module: The name of its module, which measures it alone.
        text: What is measured and how, in Markdown.
        measure: Measures it.
    """

    title: str
    module: str
    text: str
    measure: Callable[[Bench], Sequence[Part]]


def alone(subject: Subject) -> None:
    """Measure one subject, and print its tables."""
    click.echo(terminal(described()))
    with opened() as bench:
        for part in subject.measure(bench):
            click.echo(f"\n{terminal(part)}")
