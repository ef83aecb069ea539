"""Measures everything, and writes docs/performance.md: `python -m benchmarks`."""

from pathlib import Path

import click

from benchmarks import agents, backlog, endurance, history, host, readings, schema, start, stores
from benchmarks.bench import Bench, Subject, opened
from benchmarks.document import written
from benchmarks.machine import described
from benchmarks.tables import Part, terminal

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"

# In the order of the document.
SUBJECTS = (
    agents.SUBJECT,
    backlog.SUBJECT,
    start.SUBJECT,
    endurance.SUBJECT,
    history.SUBJECT,
    host.SUBJECT,
    readings.SUBJECT,
    schema.SUBJECT,
)

Measured = dict[Subject, list[Part]]


def measured(bench: Bench, soak_s: float) -> Measured:
    """Measure all subjects, while the agents that are compared run for a while."""
    found: Measured = {subject: [] for subject in SUBJECTS}
    with agents.begun(bench) as soak:
        # Neither of the two is about time, so they may have a core each.
        with stores.begun(bench) as making, endurance.lived(bench) as life:
            made = making.wait()
            found[endurance.SUBJECT].append(life.table())
            found[history.SUBJECT] += history.measured(bench, made)
        for each in (backlog, start, host, readings, schema):
            found[each.SUBJECT] += each.SUBJECT.measure(bench)
        soak.wait(soak_s)
        soak.measure()
        found[agents.SUBJECT] += soak.tables()
    return found


@click.command()
@click.option("--soak", "soak_s", default=agents.SOAK_S, show_default=True, help="Seconds.")
@click.option(
    "--to", "document", type=click.Path(path_type=Path), default=DOCUMENT, help="The document."
)
def main(soak_s: float, document: Path) -> None:
    """Measure, print tables, and write the document."""
    machine = described()
    with opened() as bench:
        found = measured(bench, soak_s)
        bench.say("all is measured")
    parts = [machine, *(part for its in found.values() for part in its)]
    click.echo("\n\n".join(map(terminal, parts)))
    document.write_text(written(machine, list(found.items())), encoding="utf-8")
    click.echo(f"\nwritten: {document}")


if __name__ == "__main__":
    main()
