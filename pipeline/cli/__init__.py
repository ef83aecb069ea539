"""The commands."""

from pipeline.cli import (
    completion,
    doctor,
    metrics,
    once,
    rehearse,
    rejected,
    retention,
    run,
    settings,
    setup,
    show,
    status,
)
from pipeline.cli import main as root

main = root.main
for command in (
    run.run,
    once.once,
    status.status,
    show.show,
    metrics.metrics,
    settings.settings,
    doctor.doctor,
    rehearse.rehearse,
    rejected.rejected,
    retention.retention,
    setup.setup,
    completion.completion,
):
    main.add_command(command)

__all__ = ["main"]
