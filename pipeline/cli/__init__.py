"""The commands."""

from pipeline.cli import doctor, rehearse, rejected, root

main = root.main
for command in (doctor.doctor, rehearse.rehearse, rejected.rejected):
    main.add_command(command)

__all__ = ["main"]
