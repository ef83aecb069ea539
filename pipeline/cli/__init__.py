"""The commands."""

from pipeline.cli import completion, doctor, rehearse, rejected, root, show, status

main = root.main
for command in (
    status.status,
    show.show,
    doctor.doctor,
    rehearse.rehearse,
    rejected.rejected,
    completion.completion,
):
    main.add_command(command)

__all__ = ["main"]
