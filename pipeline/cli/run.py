"""`run`: the agent in the foreground, until a signal."""

import os
import signal
import sys

import click

from pipeline import collectors
from pipeline.cli import logs
from pipeline.cli.main import Source, example, pass_source
from pipeline.clock import SystemClock
from pipeline.settings import Files, Settings


@click.command(epilog=example("METRICS_COLLECTION_INTERVAL_MS=10000 metrics-pipeline run"))
@pass_source
def run(source: Source) -> None:
    """Run the agent until Ctrl-C or SIGTERM. SIGHUP lets it read its settings again."""
    from pipeline.agent import Agent, Notifier  # noqa: PLC0415

    # Blocked in every thread and waited for, so that no handler runs in the midst of anything.
    # One that is ignored stays so, as nohup has it.
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signals = [one for one in known if signal.getsignal(one) is not signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    files = Files(source.directory, os.environ, collectors.names())
    settings = files.load().settings
    _configure_logs(settings)

    def end() -> None:
        os.kill(os.getpid(), signals[0])

    agent = Agent(settings, files, on_change=_configure_logs, on_lost=end)
    with Notifier(os.environ, lambda: agent.health, SystemClock()):
        agent.start()
        while signal.sigwait(signals) == signal.SIGHUP and not agent.lost:
            agent.reload()
    lost = agent.lost
    agent.close()
    if lost:  # the log says why
        sys.exit(1)


def _configure_logs(settings: Settings) -> None:
    logs.configure(settings.log_level, settings.log_format, sys.stderr, os.environ)
