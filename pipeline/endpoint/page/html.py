"""The page as HTML. All that comes from the store or the settings is escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from pipeline import __version__
from pipeline.collectors import catalogue
from pipeline.endpoint.page import svg
from pipeline.endpoint.page.charts import CHARTS, Chart, greatest
from pipeline.endpoint.page.tiles import TILES, Figure, Tile, figure
from pipeline.endpoint.page.window import SPANS, Span, Window, moment
from pipeline.health import Summary, SummaryRow, human
from pipeline.point import FieldValue
from pipeline.spool import Series, between

_LONGEST_TEXT = 40
_MOST_GAPS = 10
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class History:
    """What was read of the host's history.

    Attributes:
        first_ns: The oldest reading that is held, in nanoseconds since 1970-01-01 UTC.
        last_ns: The newest.
        part: Of the window, one reading of so many was read.
        window: The time that the charts cover.
        series: The series of the charts.
        hour: The time that the tiles' small lines cover: the last hour.
        newest: The series of the tiles.
    """

    first_ns: int
    last_ns: int
    part: int
    window: Window
    series: Sequence[Series]
    hour: Window
    newest: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Content:
    """The content of the page.

    Attributes:
        host: The host's name.
        span: How far back it goes.
        now_ns: The time at which it is made, in nanoseconds since 1970-01-01 UTC.
        state: The state of the agent.
        lost: The number of lost points by cause, by server; without mirrors, that is "".
        renewal_s: After so many seconds it renews itself.
        paused: Whether it does not.
        history: What was read; None while there is no reading.
    """

    host: str
    span: Span
    now_ns: int
    state: Summary
    lost: Mapping[str, Mapping[str, int]]
    renewal_s: int
    paused: bool
    history: History | None


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
    renewal = f'<meta http-equiv="refresh" content="{content.renewal_s}">\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"{'' if content.paused else renewal}<title>{host}: metrics-pipeline</title>\n"
        f'<style nonce="{nonce}">{style}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#main">To the content</a>\n{_header(content)}'
        f'<main id="main">\n{_state(content.state)}{_tiles(content.history)}'
        f'{_beginning(content)}<div class="columns">{_history(content)}{_agent(content.state)}'
        f"{_losses(content.lost)}</div></main>\n"
        f"{_footer(content.history)}</body>\n</html>\n"
    )


def _header(content: Content) -> str:
    paused, span = content.paused, content.span
    spans = "".join(
        f'<li><a href="{_address(one, paused=paused)}"{" aria-current=page" * (one == span)}>'
        f"{one.name}</a></li>"
        for one in SPANS
    )
    every = human.duration(content.renewal_s)
    change = f'<a href="{_address(span, paused=not paused)}">{"Resume" if paused else "Pause"}</a>'
    return (
        f'<header><h1>{escape(content.host)}</h1>\n<nav aria-label="How far back"><ul>{spans}'
        f"</ul></nav>\n<p>{moment(content.now_ns)} UTC, "
        f"{'paused' if paused else f'renewed every {every}'} <span>{change} "
        f'<a href="{_address(span, paused=paused)}">Reload</a></span></p></header>\n'
    )


def _address(span: Span, *, paused: bool) -> str:
    return f"/?hours={span.hours}{'&amp;renew=no' * paused}"


def _state(state: Summary) -> str:
    """Write the state at a glance: one sentence, and what is bad."""
    said = ("running", "last reading", "lost")
    bad = (*state.wrong, *(row for row in state.first if row.bad and row.name not in said))
    mood = "well" if state.well else "bad"
    return f'<p class="{mood}">{escape(state.headline)}</p>{_list(bad) if bad else ""}\n'


def _agent(state: Summary) -> str:
    servers = "".join(map(_list, state.servers))
    return (
        f'<section aria-labelledby="agent"><h2 id="agent">Agent</h2>{_list(state.first)}{servers}'
        f"<details><summary>More</summary>{_list(state.more)}</details></section>\n"
    )


def _list(rows: Iterable[SummaryRow]) -> str:
    items = (
        f"<dt>{escape(row.name)}</dt><dd{' class=bad' * row.bad}>{escape(row.text)}</dd>"
        for row in rows
    )
    return f"<dl>{''.join(items)}</dl>"


def _tiles(history: History | None) -> str:
    if history is None:
        return ""
    tiles = "".join(_tile(tile, history) for tile in TILES)
    head = '<section class="now" aria-labelledby="now"><h2 id="now" class="hidden">Now</h2>'
    return f"{head}<ul>{tiles}</ul></section>\n"


def _beginning(content: Content) -> str:
    """Say why the charts are shorter than the chosen time, where they are."""
    history = content.history
    if history is None or not content.now_ns - content.span.ns < history.first_ns < history.last_ns:
        return ""
    return f"<p>The history begins with the first reading, {moment(history.first_ns)}.</p>\n"


def _history(content: Content) -> str:
    history = content.history
    if history is None:
        return _note("There is no reading yet.")
    ago = human.duration((content.now_ns - history.last_ns) / 1e9)
    if history.first_ns == history.last_ns:
        soon = f", within {human.duration(content.renewal_s)}" if content.state.well else ""
        return _note(f"The first reading was taken {ago} ago. Charts begin with the second{soon}.")
    if history.last_ns < history.window.since_ns:
        return _note(f"No readings in the last {content.span.name}; the newest is {ago} old.")
    charts = "".join(_chart(number, chart, history) for number, chart in enumerate(CHARTS))
    return f"{charts}{_gaps(history.window)}"


def _note(text: str) -> str:
    head = '<section aria-labelledby="charts"><h2 id="charts">Charts</h2>'
    return f"{head}<p>{text}</p></section>\n"


def _tile(tile: Tile, history: History) -> str:
    shown = figure(tile, history.newest)
    first = history.first_ns == history.last_ns
    if shown is None:
        why = "Begins with the second reading" if first else "No reading in the last hour"
        return f"<li><h3>{tile.title}</h3><p>{why}</p></li>"
    level = f' <span class="level">{shown.level}</span>' if shown.level else ""
    mood = f' class="{shown.level.replace(" ", "-")}"' if shown.level else ""
    frame = svg.frame([shown.series], history.hour, shown.edge)
    line = "" if first else svg.small([shown.series], frame)
    return (
        f"<li><h3>{tile.title}</h3><p{mood}><strong>{_quantity(shown.value, tile)}</strong>"
        f"{level}</p><p>{escape(_beside(tile, shown))}</p>{line}</li>"
    )


def _beside(tile: Tile, shown: Figure) -> str:
    parts = [f"{tile.name} {shown.tag}".strip()]
    if shown.cores is not None:
        parts.append(f"on {human.count(shown.cores, 'core')}")
    if tile.beside and shown.beside is not None:
        parts.append(f"{tile.beside[0]} {_quantity(shown.beside, tile)}")
    return ", ".join(filter(None, parts))


def _chart(number: int, chart: Chart, history: History) -> str:
    series = chart.all(history.series)
    if not series and chart.optional:
        return ""
    body = _plot(chart, series, history.window) if series else _nothing(chart)
    name = f"chart-{number}"
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(chart.title)}</h2>'
        f"{body}</section>\n"
    )


def _nothing(chart: Chart) -> str:
    _, first = chart.lines[0]
    return f"<p>No readings of {first.measurement} {first.field} in this time.</p>"


def _plot(chart: Chart, series: Sequence[Series], window: Window) -> str:
    shown = greatest(series, svg.LINES)
    frame = svg.frame(shown, window, chart.high)
    levels = "".join(
        f"<span>{_quantity(between(frame.low, frame.high, part), chart)}</span>"
        for part in (1, 0.5, 0)
    )
    left_out = len(series) - len(shown)
    more = f"<p>{left_out} more: <code>{chart.question()}</code></p>" if left_out else ""
    length = human.duration((window.until_ns - window.since_ns) / 1e9)
    gaps = f", with {human.count(len(window.gaps), 'gap')}" if window.gaps else ""
    label = f"{chart.title} over {length}{gaps}: a line for each row of the table below"
    return (
        f'<div class="chart" role="img" aria-label="{escape(label)}">'
        f'<div class="levels" aria-hidden="true">{levels}</div>{svg.chart(shown, frame)}</div>'
        f"{_table(chart, shown)}{more}"
    )


def _table(chart: Chart, series: Sequence[Series]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><div>{svg.key(place)}<span>{escape(chart.name(one))}</span></div>'
        f"</th>{_cells(one, chart)}</tr>"
        for place, one in enumerate(series)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("", "now", "min", "mean", "max"))
    heads = heads.replace("></th>", '><span class="hidden">line</span></th>', 1)
    return f'<table class="figures"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(series: Series, chart: Chart) -> str:
    values = (series.last, *(series.summary or ()))
    return "".join(f"<td>{_value(value, chart)}</td>" for value in values)


def _value(value: FieldValue, chart: Chart) -> str:
    if isinstance(value, str):  # among numbers, as a file of the user's may have it
        return escape(value[:_LONGEST_TEXT])
    return _quantity(float(value), chart)


def _quantity(value: float, shown: Chart | Tile) -> str:
    """Write a number and its unit, short: 25.3 MB/s."""
    decimals = 1 if shown.unit else 2
    return human.quantity(round(value, decimals), shown.unit, _DIGITS, rate=shown.rate)


def _gaps(window: Window) -> str:
    if not window.gaps:
        return ""
    newest = window.gaps[: -_MOST_GAPS - 1 : -1]
    rows = "".join(f"<li>{escape(window.name(gap))}</li>" for gap in newest)
    left_out = len(window.gaps) - len(newest)
    more = f"<p>{left_out} more before.</p>" if left_out else ""
    return f'<section aria-labelledby="gaps"><h2 id="gaps">Gaps</h2><ul>{rows}</ul>{more}</section>'


def _losses(lost: Mapping[str, Mapping[str, int]]) -> str:
    head = '<section aria-labelledby="lost"><h2 id="lost">Lost points</h2>'
    if not any(lost.values()):
        return f"{head}<p>Nothing lost.</p></section>\n"
    meanings = {one.field: one.meaning for one in reversed(catalogue.load())}  # the first counts
    rows = "".join(
        f'<tr><th scope="row">{escape(f"{server}: {cause}" if server else cause)}</th>'
        f"<td>{points}</td><td>{escape(meanings.get(f'lost_{cause}', ''))}</td></tr>"
        for server, causes in lost.items()
        for cause, points in causes.items()
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("cause", "points", "meaning"))
    return (
        f'{head}<table class="lost"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</section>\n"
    )


def _footer(history: History | None) -> str:
    part = f" One of {history.part} readings is drawn." if history and history.part > 1 else ""
    links = "".join(
        f'<li><a href="{path}">{path}</a></li>' for path in ("/status", "/health", "/metrics")
    )
    return (
        f"<footer><p>metrics-pipeline {__version__}; all times are UTC.{part}</p><ul>{links}</ul>"
        "</footer>\n"
    )
