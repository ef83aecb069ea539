"""`python -m tests.browser.pictures DIR`: the page at two widths, light and dark, to look at."""

import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import tab
from tests.browser.serving import served

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as store, served(Path(store)) as address, tab() as browser:
        for width in (1280, 360):
            for scheme in ("light", "dark"):
                browser.open(f"{address}?hours=6", width, scheme)
                path = target / f"page-{width}-{scheme}.png"
                path.write_bytes(browser.picture())
                print(path)  # noqa: T201  # a script's output
