"""The commands."""

from pipeline.cli import doctor, rehearse, rejected, retention, root, run, setup

main = root.main
for command in (
    run.run,
    doctor.doctor,
    rehearse.rehearse,
    rejected.rejected,
    retention.retention,
    setup.setup,
):
    main.add_command(command)

__all__ = ["main"]
