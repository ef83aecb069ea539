from pathlib import Path

from pipeline.cli.metrics import markdown
from pipeline.collectors.catalogue import load


def test_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs/metrics.md"
    assert page.read_text(encoding="utf-8") == markdown(load()), "to make it anew: make docs"


def test_page_holds_every_field() -> None:
    page = markdown(load())
    assert "## diskio\n\nTags: `name`\n" in page
    assert "## metrics_agent of each collector\n\nTags: `collector`\n" in page
    assert "## mem\n\nTags: none of its own\n" in page
    assert all(
        f"| `{one.field}` | {one.type} | {one.kind} | {one.unit} | " in page for one in load()
    )
