"""The commands."""

from pipeline.cli import completion, root, show, status

main = root.main
for command in (status.status, show.show, completion.completion):
    main.add_command(command)

__all__ = ["main"]
