"""What a check of `doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A precondition, and whether it holds.

    Attributes:
        check: Its name.
        ok: Whether it holds.
        message: What was found, in one line.
        fix: What to do, in one line; "" when there is nothing to do.
    """

    check: str
    ok: bool
    message: str
    fix: str = ""
