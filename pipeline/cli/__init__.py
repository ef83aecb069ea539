"""The commands."""

from pipeline.cli import rejected, root

main = root.main
for command in (rejected.rejected,):
    main.add_command(command)

__all__ = ["main"]
