"""The commands."""

from pipeline.cli import (
    completion,
    doctor,
    rehearse,
    rejected,
    retention,
    root,
    run,
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
    completion.completion,
):
    main.add_command(command)

__all__ = ["main"]
