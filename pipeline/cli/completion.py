"""`completion`: the shell's completion by the Tab key."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from pipeline.cli.main import Source, example
from pipeline.collectors import catalogue
from pipeline.settings import HOUR_NS

_PROGRAM = "metrics-pipeline"
_VARIABLE = "_METRICS_PIPELINE_COMPLETE"  # the name that click looks for
# The newest readings are enough to know the names, and a key press must not wait.
_READINGS, _SPAN_NS = 60, 24 * HOUR_NS


@click.command(epilog=example("source <(metrics-pipeline completion bash)"))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script by which the Tab key completes."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101  # click has all three
    click.echo(made(ctx.find_root().command, {}, _PROGRAM, _VARIABLE).source(), nl=False)


def measurements(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer measurements: those of the local history, or of the catalogue where it has none."""
    return _offered(dict.fromkeys(name for name, _ in _names(ctx)), {}, incomplete)


def fields(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the fields of the measurement before it, each with its meaning."""
    before = ctx.params.get("measurement")
    meanings = {one.field: one.meaning for one in catalogue.load() if one.measurement == before}
    return _offered((field for name, field in _names(ctx) if name == before), meanings, incomplete)


def _offered(
    names: Iterable[str], meanings: dict[str, str], incomplete: str
) -> list[CompletionItem[str]]:
    return [
        CompletionItem(name, help=meanings.get(name))
        for name in names
        if name.startswith(incomplete)
    ]


def _names(ctx: click.Context) -> list[tuple[str, str]]:
    held = _held(ctx)
    return held or [(one.measurement, one.field) for one in catalogue.load()]


def _held(ctx: click.Context) -> list[tuple[str, str]]:
    from pipeline.spool import SpoolReader, history  # noqa: PLC0415

    try:
        directory = Source(ctx.find_root().params.get("config_dir")).load().settings.data_dir
        with SpoolReader(directory) as reader:
            last_ns = reader.contents().last_ns or 0
            since_ns = max(0, last_ns - _SPAN_NS)
            found = history.fields(reader.history(since_ns, _READINGS))
            return [(one.measurement, one.field) for one in found]
    except Exception:  # noqa: BLE001  # a key press must not print an error
        return []
