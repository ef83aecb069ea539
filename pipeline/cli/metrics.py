"""`metrics`: the catalogue of all that the agent writes."""

import dataclasses
import json

import click

from pipeline.cli.main import example, json_option


@click.command(epilog=example("metrics-pipeline metrics | grep percent"))
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown: docs/metrics.md.")
@json_option
def metrics(*, as_json: bool, as_markdown: bool) -> None:
    """Print every measurement and field. Each with its type, unit and meaning."""
    from pipeline.collectors import catalogue  # noqa: PLC0415

    entries = catalogue.load()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
    elif as_markdown:
        click.echo(catalogue.markdown(entries), nl=False)
    else:
        from pipeline.cli import _print  # noqa: PLC0415

        _print.metrics(entries)
