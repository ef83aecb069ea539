"""The commands."""

from pipeline.cli import doctor, rehearse, rejected, root, setup

main = root.main
for command in (doctor.doctor, rehearse.rehearse, rejected.rejected, setup.setup):
    main.add_command(command)

__all__ = ["main"]
