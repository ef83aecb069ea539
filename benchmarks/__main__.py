"""Measures everything, and writes docs/performance.md: `python -m benchmarks`."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click

from benchmarks import (
    agents,
    backlog,
    endurance,
    history,
    host,
    mirrors,
    readings,
    schema,
    size,
    start,
    stores,
)
from benchmarks.bench import Bench, Subject, opened
from benchmarks.document import written
from benchmarks.machine import described
from benchmarks.soak import SOAK_S, begun
from benchmarks.tables import Listing, Part, terminal

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"

# In the order of the document.
SUBJECTS = (
    agents.SUBJECT,
    backlog.SUBJECT,
    start.SUBJECT,
    mirrors.SUBJECT,
    endurance.SUBJECT,
    history.SUBJECT,
    size.SUBJECT,
    host.SUBJECT,
    readings.SUBJECT,
    schema.SUBJECT,
)


class Measured:
    """The tables of all subjects.

    Args:
        bench: Is told of what fails.

    Attributes:
        parts: The tables of each.
        failed: Whether a subject failed.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.parts: dict[Subject, list[Part]] = {subject: [] for subject in SUBJECTS}
        self.failed = False

    def take(self, subject: Subject, measure: Callable[[], Iterable[Part]]) -> None:
        """Measure, or say why that could not be: no subject costs the others their figures."""
        try:
            self.parts[subject] += measure()
        except Exception as error:  # noqa: BLE001  # whatever it is
            self.failed = True
            self._bench.say(f"{subject.module} failed: {error}")
            why = (str(error).splitlines() or [type(error).__name__])[0]
            self.parts[subject].append(Listing("", ("not measured",), ((why,),)))


def measured(bench: Bench, soak_s: float) -> Measured:
    """Measure all subjects, while the agents that are compared run for a while."""
    found = Measured(bench)
    with begun(bench) as soak:
        # Neither of the two is about time, so they may have a core each.
        with stores.begun(bench) as making, endurance.lived(bench) as life:
            found.take(endurance.SUBJECT, lambda: [life.table()])
            found.take(history.SUBJECT, lambda: history.measured(bench, making.wait()))
        for each in (backlog, start, mirrors, size, host, readings, schema):
            found.take(each.SUBJECT, partial(each.SUBJECT.measure, bench))
        found.take(agents.SUBJECT, lambda: agents.measured(soak, soak_s))
    return found


@click.command()
@click.option("--soak", "soak_s", default=SOAK_S, show_default=True, help="Seconds.")
@click.option(
    "--to", "document", type=click.Path(path_type=Path), default=DOCUMENT, help="The document."
)
def main(soak_s: float, document: Path) -> None:
    """Measure, print tables, and write the document; fail where a subject failed."""
    machine = described()
    with opened() as bench:
        found = measured(bench, soak_s)
        bench.say("all is measured")
    parts = [machine, *(part for its in found.parts.values() for part in its)]
    click.echo("\n\n".join(map(terminal, parts)))
    document.write_text(written(machine, list(found.parts.items())), encoding="utf-8")
    click.echo(f"\nwritten: {document}")
    sys.exit(1 if found.failed else 0)


if __name__ == "__main__":
    main()
