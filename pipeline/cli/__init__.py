"""The commands."""

from pipeline.cli import doctor, rejected, root

main = root.main
for command in (doctor.doctor, rejected.rejected):
    main.add_command(command)

__all__ = ["main"]
