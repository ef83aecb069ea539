"""The page as HTML. All that comes from the store or the settings is escaped here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from pipeline import __version__
from pipeline.clock import rfc3339
from pipeline.collectors import catalogue
from pipeline.endpoint.page import svg
from pipeline.endpoint.page.charts import CHARTS, Chart, greatest
from pipeline.health import Summary, SummaryRow, human
from pipeline.point import FieldValue
from pipeline.spool import Series, between

HOURS = (1, 6, 24)
_LONGEST_TEXT = 40


@dataclass(frozen=True, slots=True)
class Content:
    """The content of the page.

    Attributes:
        host: The host's name.
        hours: How far back it goes.
        now_ns: The time at which it is made, in nanoseconds since 1970-01-01 UTC.
        state: The state of the agent.
        lost: Cause and number of lost points.
        interval_ms: The time from one reading to the next.
        series: The series that were read.
        step: One of this many readings was read.
    """

    host: str
    hours: int
    now_ns: int
    state: Summary
    lost: Sequence[tuple[str, int]]
    interval_ms: int
    series: Sequence[Series]
    step: int


def policy(nonce: str) -> str:
    """Return the policy that forbids a page everything but the style that has the nonce."""
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def html(content: Content, nonce: str) -> str:
    """Write the page."""
    host = escape(content.host)
    style = (files("pipeline.endpoint.page") / "style.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{host}: metrics-pipeline</title>\n"
        f'<style nonce="{nonce}">{style}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#main">To the content</a>\n<header><h1>{host}</h1>\n'
        f'{_ranges(content.hours)}</header>\n<main id="main">\n'
        f"{_state(content)}{_losses(content.lost)}{''.join(_charts(content))}</main>\n"
        f"{_footer(content)}</body>\n</html>\n"
    )


def _ranges(hours: int) -> str:
    links = "".join(
        f'<li><a href="/?hours={each}"{" aria-current=page" * (each == hours)}>{each} h</a></li>'
        for each in HOURS
    )
    return f'<nav aria-label="How far back"><ul>{links}</ul></nav>'


def _state(content: Content) -> str:
    state = content.state
    mood = "well" if state.well else "bad"
    return (
        '<section aria-labelledby="agent"><h2 id="agent">Agent</h2>'
        f'<p class="{mood}">{escape(state.headline)}</p>{_list((*state.wrong, *state.first))}'
        f"<details><summary>More</summary>{_list(state.more)}</details></section>\n"
    )


def _list(rows: Iterable[SummaryRow]) -> str:
    items = (
        f"<dt>{escape(row.name)}</dt><dd{' class=bad' * row.bad}>{escape(row.text)}</dd>"
        for row in rows
    )
    return f"<dl>{''.join(items)}</dl>"


def _charts(content: Content) -> Iterable[str]:
    for number, chart in enumerate(CHARTS):
        series = chart.all(content.series)
        if series or not chart.optional:
            name = f"chart-{number}"
            body = _figure(chart, series, content) if series else _nothing(chart)
            yield (
                f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(chart.title)}</h2>'
                f"{body}</section>\n"
            )


def _nothing(chart: Chart) -> str:
    _, first = chart.lines[0]
    return f"<p>No readings of {first.measurement} {first.field} in this time.</p>"


def _figure(chart: Chart, series: Sequence[Series], content: Content) -> str:
    shown = greatest(series, svg.LINES)
    high = chart.high or svg.above(max(one.summary[2] for one in shown if one.summary))
    least = min(one.summary[0] for one in shown if one.summary)
    low = -svg.above(-least) if least < 0 and not chart.high else 0.0
    span_ns = content.hours * 3600 * 10**9
    since_ns = content.now_ns - span_ns
    gap_ns = max(3 * content.interval_ms * content.step * 10**6, span_ns // 50)
    frame = svg.Frame(since_ns, content.now_ns, gap_ns, low, high)
    levels = "".join(
        f"<span>{_value(between(low, high, part), chart)}</span>" for part in (1, 0.5, 0)
    )
    times = (since_ns, since_ns + span_ns // 2, content.now_ns)
    clocks = "".join(f"<span>{rfc3339(time)[11:16]}</span>" for time in times)
    left_out = len(series) - len(shown)
    more = f"<p>{left_out} more: <code>{chart.question()}</code></p>" if left_out else ""
    label = f"{chart.title} over {content.hours} h: a line for each row of the table below"
    return (
        f'<div class="chart" role="img" aria-label="{escape(label)}">'
        f'<div class="levels" aria-hidden="true">{levels}</div>{svg.chart(shown, frame)}'
        f'<div class="times" aria-hidden="true">{clocks}</div></div>'
        f"{_table(chart, shown)}{more}"
    )


def _table(chart: Chart, series: Sequence[Series]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><div>{svg.key(place)}<span>{escape(chart.name(one))}</span></div>'
        f"</th>{_cells(one, chart)}</tr>"
        for place, one in enumerate(series)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("", "now", "least", "mean", "most"))
    heads = heads.replace("></th>", '><span class="hidden">line</span></th>', 1)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(series: Series, chart: Chart) -> str:
    values = (series.last, *(series.summary or ()))
    return "".join(f"<td>{_value(value, chart)}</td>" for value in values)


def _value(value: FieldValue, chart: Chart) -> str:
    if isinstance(value, str):  # among numbers, as a file of the user's may have it
        return escape(value[:_LONGEST_TEXT])
    return f"{human.scaled(float(value))}{chart.unit}"


def _losses(lost: Sequence[tuple[str, int]]) -> str:
    head = '<section aria-labelledby="lost"><h2 id="lost">Lost points</h2>'
    if not lost:
        return f"{head}<p>Nothing was lost since the store was made.</p></section>\n"
    meanings = {one.field: one.meaning for one in catalogue.load()}
    rows = "".join(
        f'<tr><th scope="row">{escape(cause)}</th><td>{points}</td>'
        f"<td>{escape(meanings.get(f'lost_{cause}', ''))}</td></tr>"
        for cause, points in lost
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("cause", "points", "meaning"))
    return (
        f'{head}<table class="lost"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</section>\n"
    )


def _footer(content: Content) -> str:
    part = f" One of {content.step} readings is drawn." if content.step > 1 else ""
    links = "".join(
        f'<li><a href="{path}">{path}</a></li>' for path in ("/status", "/health", "/metrics")
    )
    return (
        f"<footer><p>Made at {rfc3339(content.now_ns)[:19]}Z by metrics-pipeline {__version__};"
        f" all times are UTC.{part}"
        f' <a href="/?hours={content.hours}">Make it again</a></p><ul>{links}</ul></footer>\n'
    )
