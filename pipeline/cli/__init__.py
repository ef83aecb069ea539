"""The commands."""

from pipeline.cli import (
    completion,
    doctor,
    rehearse,
    rejected,
    retention,
    root,
    run,
    setup,
    show,
    status,
)

main = root.main
for command in (
    run.run,
    status.status,
    show.show,
    doctor.doctor,
    rehearse.rehearse,
    rejected.rejected,
    retention.retention,
    setup.setup,
    completion.completion,
):
    main.add_command(command)

__all__ = ["main"]
