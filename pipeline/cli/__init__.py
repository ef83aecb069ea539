"""The commands."""

from pipeline.cli import retention, root

main = root.main
for command in (retention.retention,):
    main.add_command(command)

__all__ = ["main"]
