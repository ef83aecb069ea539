"""What was measured, as tables: in the terminal and in Markdown, always with the same layout."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Samples = tuple[float, ...]

HEAD = ("", "unit", "min", "median", "max", "target", "met")
"""What the columns of a row are."""
RIGHT = frozenset({2, 3, 4})
"""Which of them are figures."""
_DIGITS, _PLACES = 3, 9


@dataclass(frozen=True, slots=True)
class Target:
    """What the median is to keep to.

    Attributes:
        bound: The figure.
        least: Whether it is the least that will do, and not the most.
    """

    bound: float
    least: bool = False

    def __str__(self) -> str:
        """Return it as a table shows it."""
        return f"{'at least' if self.least else 'at most'} {figure(self.bound)}"

    def is_met(self, samples: Samples) -> bool:
        """Return whether the median keeps to it."""
        median = statistics.median(samples)
        return median >= self.bound if self.least else median <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        unit: Its unit.
        samples: What came out, each time; none where it could not be measured.
        target: What it is to keep to, if anything.
    """

    name: str
    unit: str
    samples: Samples
    target: Target | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it was measured and does not keep to its target."""
        return bool(self.target and self.samples) and self.verdict == "no"

    @property
    def verdict(self) -> str:
        """Return whether the target is met, as a table shows it."""
        if self.target is None:
            return ""
        if not self.samples:
            return "not measured"
        return "yes" if self.target.is_met(self.samples) else "no"

    @property
    def cells(self) -> tuple[str, ...]:
        """Return it as a table shows it; without samples its figures are empty."""
        told: tuple[str, ...] = ("", "", "")
        if self.samples:
            three = (min(self.samples), statistics.median(self.samples), max(self.samples))
            told = tuple(map(figure, three))
        target = "" if self.target is None else str(self.target)
        return (self.name, self.unit, *told, target, self.verdict)


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that belong together.

    Attributes:
        title: What they are of.
        rows: The figures.
        note: What else there is to tell of them, such as what is missing.
    """

    title: str
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def listing(self) -> "Listing":
        """Return it as text; the columns for targets only where there are any."""
        wanted = len(HEAD) if any(row.target for row in self.rows) else len(HEAD) - 2
        cells = tuple(row.cells[:wanted] for row in self.rows)
        return Listing(self.title, HEAD[:wanted], cells, self.note, RIGHT)


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of texts.

    Attributes:
        title: What they are of.
        head: The names of the columns.
        rows: The texts.
        note: What else there is to tell of them.
        right: The columns that are aligned to the right.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    right: frozenset[int] = frozenset()

    @property
    def listing(self) -> "Listing":
        """Return itself."""
        return self


Part = Table | Listing


def ratio(name: str, ours: Row, theirs: Row, target: Target | None = None) -> Row:
    """Return how many times `theirs` `ours` is, empty where one of them is.

    Samples that were taken together are compared pair by pair, others by their medians.
    """
    pairs: Sequence[tuple[float, float]] = ()
    if len(ours.samples) == len(theirs.samples):
        pairs = tuple(zip(ours.samples, theirs.samples, strict=True))
    elif ours.samples and theirs.samples:
        pairs = ((statistics.median(ours.samples), statistics.median(theirs.samples)),)
    return Row(name, "ratio", tuple(one / other for one, other in pairs), target)


def figure(number: float) -> str:
    """Return a number with as many digits as tell something."""
    if number == 0 or abs(number) >= 10**_DIGITS:
        return f"{number:,.0f}".replace(",", " ")
    places = min(max(_DIGITS - 1 - math.floor(math.log10(abs(number))), 0), _PLACES)
    told = f"{number:.{places}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told


def terminal(part: Part) -> str:
    """Return a table in columns as wide as they need."""
    shown = part.listing
    lines = [shown.title + ("" if shown.rows else ": none")]
    if shown.rows:
        every = (shown.head, *shown.rows)
        widths = [max(map(len, column)) for column in zip(*every, strict=True)]
        for row in every:
            cells = (
                cell.rjust(width) if number in shown.right else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(filter(None, [*lines, shown.note]))


def markdown(part: Part) -> str:
    """Return a table as Markdown: no cell's width depends on another's, so that diffs are small."""
    shown = part.listing
    if not shown.rows:
        return f"**{shown.title}**: none"
    rule = tuple("---:" if number in shown.right else "---" for number in range(len(shown.head)))
    table = "\n".join(map(_row, (shown.head, rule, *shown.rows)))
    title = f"**{shown.title}**" if shown.title else ""
    return "\n\n".join(filter(None, [title, table, shown.note]))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
