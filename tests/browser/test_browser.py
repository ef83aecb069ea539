"""What a reader of the page sees, hears and can reach, at two widths, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Tab, tab
from tests.browser.serving import served

WIDTHS = (1280, 360)
SCHEMES = ("light", "dark")
EVIL = "<img src=/status><script>document.title='evil'</script>"

# The ratio of WCAG 2.2, of each text to what is behind it, and of each line: the worst of them.
# https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
CONTRAST = """(() => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const shine = color => {
    const [r, g, b] = numbers(color).map(one => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const ratio = (one, other) => {
    const [low, high] = [shine(one), shine(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const said = element => [...element.childNodes].some(
    node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  const texts = [...document.body.querySelectorAll('*')].filter(said);
  const lines = [...document.querySelectorAll('path.line')];
  return {
    texts: texts.length,
    lines: lines.length,
    text: Math.min(...texts.map(one => ratio(getComputedStyle(one).color, behind(one)))),
    line: Math.min(...lines.map(one => ratio(getComputedStyle(one).stroke, behind(one)))),
  };
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as one:
        yield one


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("store")) as one:
        yield one


@pytest.fixture(autouse=True)
def _quiet(browser: Tab) -> Iterator[None]:
    """Nothing but the page itself is asked for, and the browser has nothing to complain of."""
    browser.open("about:blank")  # the page of the test before would renew itself, of no server
    browser.requests.clear()
    browser.complaints.clear()
    yield
    assert browser.complaints == []
    assert {one.partition("?")[0].partition("#")[0][-1] for one in browser.requests} <= {"/", ","}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_is_in_sight_and_can_be_told_from_what_is_behind_it(
    browser: Tab, address: str, width: int, scheme: str
) -> None:
    browser.open(f"{address}?hours=6", width, scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    dark = browser.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    found = browser.run(CONTRAST)
    assert found["texts"] > 100
    assert found["lines"] > 20
    assert found["text"] >= 4.5
    assert found["line"] >= 3
    assert browser.picture().startswith(b"\x89PNG")
    sizes = browser.run(
        "[...document.querySelectorAll('.chart > svg')].map(one => one.getBoundingClientRect())"
        ".map(one => [one.width, one.height])"
    )
    assert len(sizes) == browser.run("document.querySelectorAll('.chart').length") >= 10
    assert all(high == 160 for _, high in sizes)
    assert min(wide for wide, _ in sizes) > width / (2 if width == 1280 else 1) * 0.7


def focused(browser: Tab) -> dict[str, Any]:
    found: dict[str, Any] = browser.run(
        "(() => { const one = document.activeElement, style = getComputedStyle(one),"
        " box = one.getBoundingClientRect();"
        " return {text: one.textContent, outline: style.outlineStyle + ' ' + style.outlineWidth,"
        " seen: box.top >= 0 && box.bottom <= innerHeight && box.height >= 24}; })()"
    )
    return found


def tab_to(browser: Tab, text: str) -> None:
    """Press the key Tab until what has the focus says this."""
    for _ in range(12):
        browser.press("Tab")
        if focused(browser)["text"] == text:
            return
    pytest.fail(f"the keyboard does not reach {text}")


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(
    browser: Tab, address: str
) -> None:
    browser.open(address)
    reached = []
    for _ in range(12):
        browser.press("Tab")
        reached.append(focused(browser))
    assert [one["text"] for one in reached] == [
        *("To the content", "15 min", "1 h", "6 h", "24 h", "7 d", "Pause", "Reload"),
        *("More", "/status", "/health", "/metrics"),
    ]
    assert all(one["outline"] == "solid 3px" for one in reached)
    assert [one["text"] for one in reached if not one["seen"]] == []


def test_the_keyboard_chooses_how_far_back_pauses_leads_past_the_links_and_opens_the_rest(
    browser: Tab, address: str
) -> None:
    browser.open(address)
    for text, query in (("6 h", "?hours=6"), ("Pause", "?hours=6&renew=no")):
        tab_to(browser, text)
        browser.press("Enter")
        browser.loaded()
        assert browser.run("location.search") == query
    assert browser.run("document.querySelector('[aria-current=page]').textContent") == "6 h"
    assert browser.run("document.querySelector('meta[http-equiv]')") is None
    tab_to(browser, "To the content")
    browser.press("Enter")
    browser.press("Tab")
    assert focused(browser)["text"] == "More"
    browser.press(" ")
    assert browser.run("document.querySelector('details').open") is True


def test_who_listens_hears_of_every_chart_and_its_figures(browser: Tab, address: str) -> None:
    browser.open(address)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]

    def names(role: str) -> list[str]:
        return [
            node["name"]["value"]
            for node in nodes
            if not node["ignored"] and node["role"]["value"] == role
        ]

    tiles = ["Processor", "Memory", "Fullest file system", "Load", "Network"]
    titles = ["Processor", "Memory", "Load", "Pressure", "File systems", "Disk reads"]
    titles += ["Disk writes", "Network, received", "Network, sent", "Temperature", "Processes"]
    assert names("image") == [
        f"{title} over 1 h: a line for each row of the table below" for title in titles
    ]
    headings = ["web-1.example", "Now", *tiles, *titles, "Agent", "Lost points"]
    assert sorted(names("heading")) == sorted(headings)
    assert len(names("table")) == len([*titles, "Lost points"])
    assert {"memory", "swap space", "/srv", "wg0"} <= set(names("rowheader"))
    assert names("columnheader")[:5] == ["line", "now", "min", "mean", "max"]
    assert "How far back" in names("navigation")
    assert len(names("main")) == 1
    assert browser.run("document.documentElement.lang") == "en"


def test_it_renews_itself_and_stays_where_it_was(browser: Tab, tmp_path: Path) -> None:
    """It takes 5 s, by Chromium's own clock: the least time after which the page renews itself."""
    with served(tmp_path / "store", interval_s=1) as quick:
        browser.open(f"{quick}?hours=6", 360)
        browser.run("scrollTo(0, 700); window.old = true")
        browser.loaded()
        assert browser.run("[location.search, window.old === undefined]") == ["?hours=6", True]
        assert browser.run("scrollY") == 700


def test_a_name_that_is_a_script_is_shown_and_the_headers_would_stop_one_that_came_through(
    browser: Tab, tmp_path: Path
) -> None:
    with served(tmp_path / "store", dict.fromkeys(("path", "interface", "sensor"), EVIL)) as evil:
        browser.open(evil, 360)
        assert browser.run("document.title") == "web-1.example: metrics-pipeline"
        assert browser.run("document.querySelectorAll('script, img').length") == 0
        assert browser.run("document.body.innerText").count(EVIL) == 5
        assert browser.run("document.documentElement.scrollWidth") <= 360
        browser.run(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: \"document.title = 'evil'\"}))"
        )
        assert browser.run("document.title") == "web-1.example: metrics-pipeline"
        assert any("Content Security Policy" in one for one in browser.complaints)
        browser.complaints.clear()
