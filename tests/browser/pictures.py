"""`python -m tests.browser.pictures DIR [STORE [HOURS]]`: pictures of the page, to look at.

They are of a made day, or of the data directory of an agent that runs, at two widths, light and
dark; page.png is the one of docs/.
"""

import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.clock import SystemClock
from tests.browser.chromium import tab
from tests.browser.serving import of_store, served


def _main(target: Path, store: str = "", hours: str = "6") -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page: AbstractContextManager[str] = (
            of_store(Path(store), SystemClock(), 60) if store else served(Path(folder))
        )
        with page as address, tab() as browser:
            for width in (1280, 360):
                for scheme in ("light", "dark"):
                    browser.open(f"{address}?hours={hours}", width, scheme)
                    path = target / f"page-{width}-{scheme}.png"
                    path.write_bytes(browser.picture())
            browser.open(f"{address}?hours={hours}", 1000, height=1040)
            (target / "page.png").write_bytes(browser.picture(whole=False))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
