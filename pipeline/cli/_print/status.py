"""The state of the agent, once or repeatedly."""

import sys
from collections.abc import Callable
from threading import Event

from rich.console import Group
from rich.live import Live
from rich.text import Text

from pipeline.cli._print.tables import console, filled, write
from pipeline.cli.streams import visible
from pipeline.clock import Clock, rfc3339
from pipeline.health import Summary, SummaryRow

_EVERY_S = 2.0
_BAD, _GOOD = "bold red", "bold green"


def status(state: Summary) -> None:
    """Print the state of the agent."""
    write(_group(state))


def watch(read: Callable[[], Summary], clock: Clock) -> None:
    """Print the state of the agent again and again, on a terminal in place, until Ctrl-C."""
    never = Event()
    try:
        if not sys.stdout.isatty() or console().is_dumb_terminal:
            while True:
                status(read())
                sys.stdout.write("\n")
                sys.stdout.flush()
                clock.wait(never, _EVERY_S)
        with Live(console=console(), auto_refresh=False) as live:
            while True:
                at = Text(f"at {rfc3339(clock.now_ns())[11:19]} UTC; Ctrl-C ends", "dim")
                live.update(Group(_group(read()), at), refresh=True)
                clock.wait(never, _EVERY_S)
    except KeyboardInterrupt:
        return


def _group(state: Summary) -> Group:
    blank = (Text(), Text())
    rows = [*map(_cells, state.wrong), *([blank] if state.wrong else [])]
    for block in (state.first, *state.servers, state.more):
        rows += [*map(_cells, block), blank]
    headline = Text(visible(state.headline), _GOOD if state.well else _BAD)
    return Group(headline, filled((), rows[:-1]))


def _cells(row: SummaryRow) -> tuple[Text, Text]:
    return Text(visible(row.name)), Text(visible(row.text), _BAD if row.bad else "")
