import pytest

from benchmarks.__main__ import DOCUMENT, SUBJECTS
from benchmarks.bench import Subject
from benchmarks.document import written
from benchmarks.tables import Listing, Row, Table, Target

MACHINE = Listing("machine", ("", ""), (("cores", "2"),))


def document(samples: tuple[float, ...]) -> str:
    table = Table("Speed", (Row("ours", "ms", samples, Target(1.5)), Row("theirs", "ms", (2.0,))))
    subject = Subject("A subject", "speed", "What it is.", lambda _: [table])
    return written(MACHINE, [(subject, [table])])


def test_of_two_runs_only_lines_with_figures_differ() -> None:
    one, other = document((1.0, 1.25)).splitlines(), document((123.5, 604800.0)).splitlines()
    assert len(one) == len(other)
    differing = [pair for pair in zip(one, other, strict=True) if len(set(pair)) == 2]
    assert [line for pair in differing for line in pair if not line.startswith("| ")] == [
        "None is missed.",
        "1 of 1 are missed.",
    ]


def test_each_subject_has_its_text_and_command_and_the_targets_stand_together() -> None:
    own = document(()).partition("## A subject\n")[2]
    assert own.startswith("\n`python -m benchmarks.speed`\n\nWhat it is.\n\n**Speed**\n")
    assert "| ours | ms |  |  |  | at most 1.5 | not measured |" in own
    targets = document((2.0,)).partition("## Targets\n")[2].partition("\n## ")[0]
    assert "\n| Speed: ours | ms | 2 | 2 | 2 | at most 1.5 | no |\n" in targets
    assert "theirs" not in targets


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.module)
def test_the_document_has_the_text_of_each_subject_as_it_is_now(subject: Subject) -> None:
    own = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {subject.title}\n")[2]
    expected = f"\n`python -m benchmarks.{subject.module}`\n\n{subject.text}\n\n"
    assert own.startswith(expected), "`make bench` writes it anew"
