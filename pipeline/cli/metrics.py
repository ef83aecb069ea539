"""`metrics`: the catalogue of all that the agent writes."""

import dataclasses
import json
from collections.abc import Iterable
from itertools import groupby

import click

from pipeline.cli.main import example, json_option
from pipeline.collectors import catalogue


@click.command(epilog=example("metrics-pipeline metrics | grep percent"))
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown: docs/metrics.md.")
@json_option
def metrics(*, as_json: bool, as_markdown: bool) -> None:
    """Print every measurement and field. Each with its type, unit and meaning."""
    entries = catalogue.load()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
    elif as_markdown:
        click.echo(markdown(entries), nl=False)
    else:
        from pipeline.cli import _print  # noqa: PLC0415

        _print.metrics(entries)


def markdown(entries: Iterable[catalogue.Entry]) -> str:
    """Write entries as docs/metrics.md, with a table for each measurement."""
    lines = [
        "# Metrics",
        "",
        "For those who query or graph the data: every field, with its type, unit and meaning.",
        "",
        "Made of [catalogue.csv](../pipeline/collectors/catalogue.csv) by `make docs`."
        " Besides its own tags, every series has `host`.",
    ]
    for (measurement, its), group in groupby(entries, lambda each: (each.measurement, each.tags)):
        fields = list(group)
        tags = ", ".join(f"`{tag}`" for tag in its) or "none of its own"
        title = f"## {measurement}"
        lines += [
            "",
            f"{title} of each {its[0]}" if title in lines else title,
            "",
            f"Tags: {tags}",
            "",
        ]
        lines += ["| field | type | kind | unit | meaning |", f"|{' --- |' * 5}"]
        for one in fields:
            cells = (f"`{one.field}`", one.type, one.kind, one.unit, one.meaning)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
