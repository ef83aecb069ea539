"""The commands."""

from pipeline.cli import completion, doctor, rehearse, rejected, retention, run, setup, show, status
from pipeline.cli import main as root

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
