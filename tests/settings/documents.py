"""The tables of docs/settings.md, made of the declarations; `make docs` writes them."""

import re
from pathlib import Path

from pipeline.settings import CollectorOptions, Downsample, Mirror, Settings
from pipeline.settings.constraints import as_text, specs

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "settings.md"
# In the order of the document.
_OWNERS = (Settings, Downsample, Mirror, CollectorOptions)
_HEAD = "| name | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
# Their defaults depend on the machine, and their meaning says how.
_WITHOUT_DEFAULT = ("data_dir", "host_root")


def _table(owner: type) -> str:
    default = owner()
    rows = []
    for name, declared in specs(owner).items():
        value = "" if name in _WITHOUT_DEFAULT else as_text(getattr(default, name))
        cells = (f"`{name}`", f"`{value}`" if value else "", declared.allowed, declared.meaning)
        rows.append(f"| {' | '.join(cells)} |\n")
    return "".join([_HEAD, *rows])


def rewritten(text: str) -> str:
    """Return the document with its tables made anew.

    Raises:
        ValueError: It has another number of tables.
    """
    before, *rest = re.split(rf"{re.escape(_HEAD)}(?:\|.*\n)*", text)
    pairs = zip(map(_table, _OWNERS), rest, strict=True)
    return before + "".join(table + after for table, after in pairs)


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
