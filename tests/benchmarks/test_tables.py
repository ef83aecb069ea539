from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tables import Listing, Row, Table, Target, figure, markdown, ratio, terminal

OURS = Row("ours", "ms", (1.0, 2.0, 4.0))
THEIRS = Row("theirs", "ms", (2.0, 8.0, 4.0))
MISSING = Row("missing", "ms", ())


def test_a_table_has_the_least_the_median_and_the_greatest_of_each_row() -> None:
    table = Table("processor time", (OURS, THEIRS), "a note")
    assert terminal(table).splitlines() == [
        "processor time",
        "          unit  min  median  max",
        "  ours    ms      1       2    4",
        "  theirs  ms      2       4    8",
        "a note",
    ]
    assert markdown(table).splitlines() == [
        "**processor time**",
        "",
        "|  | unit | min | median | max |",
        "| --- | --- | ---: | ---: | ---: |",
        "| ours | ms | 1 | 2 | 4 |",
        "| theirs | ms | 2 | 4 | 8 |",
        "",
        "a note",
    ]


def test_what_is_missing_has_an_empty_row_and_no_ratio() -> None:
    assert MISSING.cells == ("missing", "ms", "", "", "", "", "")
    for pair in ((OURS, MISSING), (MISSING, OURS)):
        assert ratio("ratio", *pair, Target(0.4)).cells[2:] == (
            "", "", "", "at most 0.4", "not measured",
        )  # fmt: skip


def test_a_ratio_is_taken_pair_by_pair_and_else_of_the_medians() -> None:
    assert ratio("ratio", OURS, THEIRS).samples == (0.5, 0.25, 1.0)
    assert ratio("ratio", OURS, Row("once", "ms", (4.0,))).samples == (0.5,)


def test_a_target_is_met_by_the_median_or_shown_as_missed() -> None:
    for target, verdict in (
        (Target(2), "yes"),
        (Target(1.9), "no"),
        (Target(2, least=True), "yes"),
        (Target(2.1, least=True), "no"),
    ):
        row = Row("ours", "ms", OURS.samples, target)
        assert (row.verdict, row.is_missed) == (verdict, verdict == "no")
        assert f"| {target} | {verdict} |" in markdown(Table("", (row,)))
    assert not Row("missing", "ms", (), Target(2)).is_missed


def test_a_listing_says_that_it_has_no_rows_and_a_bar_in_a_cell_does_not_end_it() -> None:
    listing = Listing("series of one side only", ("series",), ())
    assert terminal(listing) == "series of one side only: none"
    assert markdown(listing) == "**series of one side only**: none"
    assert r"| a\|b |" in markdown(Listing("", ("name",), (("a|b",),)))


@given(st.floats(1e-6, 1e12))
def test_a_figure_keeps_three_digits_and_is_written_for_people(number: float) -> None:
    told = float(figure(number).replace(" ", ""))
    assert abs(told - number) <= max(abs(number) / 100, 0.5 if number >= 999 else 0)
    assert [figure(n) for n in (0, 2.0, 604800.0)] == ["0", "2", "604 800"]
