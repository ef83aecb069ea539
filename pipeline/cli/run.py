"""`run`: the agent in the foreground, until a signal."""

import contextlib
import os
import resource
import signal
import sys

import click

from pipeline import collectors
from pipeline.cli import logs
from pipeline.cli.main import Source, example, pass_source
from pipeline.settings import Files, Settings


@click.command(epilog=example("METRICS_COLLECTION_INTERVAL_MS=10000 metrics-pipeline run"))
@pass_source
def run(source: Source) -> None:
    """Run the agent until Ctrl-C or SIGTERM. SIGHUP lets it read its settings again."""
    from pipeline.agent import Agent, Notifier  # noqa: PLC0415

    # A core dump would hold the token. The unit of systemd forbids the call, and sees to it itself.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signals = _blocked()
    files = Files(source.directory, os.environ, collectors.names())
    settings = files.load().settings
    _configure_logs(settings)

    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    agent = Agent(settings, files, on_change=_configure_logs, on_lost=end)
    notifier = Notifier(os.environ, lambda: agent.health)
    notifier.starting()
    agent.start()
    while True:
        received = signal.sigtimedwait(signals, notifier.look())
        if received is None:
            continue
        if received.si_signo != signal.SIGHUP:
            break
        agent.reload()
    notifier.stopping()
    lost = agent.lost
    agent.close()
    if lost:  # the log says why
        sys.exit(1)


def _blocked() -> set[signal.Signals]:
    """Block the signals to wait for, so that no handler runs in the midst of anything."""
    # Under nohup, and in the background of a script, SIGINT comes ignored and stays so: Ctrl-C is
    # for another program then. SIGHUP comes ignored, too, but ends nothing here.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signals = {signal.SIGTERM, signal.SIGHUP, *(() if ignored else (signal.SIGINT,))}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for number in signals:
        signal.signal(number, signal.SIG_DFL)  # what is ignored never comes
    return signals


def _configure_logs(settings: Settings) -> None:
    logs.configure(settings.log_level, settings.log_format, sys.stderr, os.environ)
