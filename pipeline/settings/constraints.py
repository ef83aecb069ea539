"""What a setting may be, read from the annotations of a dataclass.

A field is declared once, `name: Annotated[type, "meaning", Constraint...] = default`; one that repr
leaves out is a secret.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

MASK = "********"
MAIN = "main"
"""The name of the server that the settings influxdb_* are of."""
NEEDED = ("url", "org", "bucket", "token")
"""The settings that every server needs."""

_PHRASES: Mapping[Any, str] = MappingProxyType(
    {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        Path: "a path",
        tuple: 'a list of texts such as ["a", "b*"]',
        Mapping: "a table",
    }
)
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint on values of the right type; an empty text is never checked.

    Attributes:
        allowed: Goes on after the type's name: "a whole number" "from 0 to 9".
        accepts: Tells whether a value is allowed.
        hides: A pattern of what a message must not show of a value.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    hides: str = "(?!)"


def between(low: int, high: int, unit: str = "") -> Constraint:
    """Return a constraint on a number; both bounds are allowed."""
    of = f"of {unit} " if unit else ""
    return Constraint(f"{of}from {low} to {high}", lambda value: low <= value <= high)


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    known = url.scheme in ("http", "https") and bool(url.hostname) and port != 0
    return known and url.netloc.isascii() and not re.search(r"[@?#\s\\]", text)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as no right to look into its folder
        return False


URL = Constraint(
    "such as http://localhost:8086, its host in ASCII, with no user, password or query in it",
    _is_url,
    hides=r"(?<=//).*(?=@)|^[^/]*(?=@)|\?.*",
)
FILE = Constraint("of an existing file", _is_file)
TOKEN = Constraint(
    "of letters, digits, signs and spaces of ASCII",
    lambda text: all(" " <= character <= "~" for character in text),
)
"""A header of HTTP carries others in more than one way. InfluxDB takes a space within."""
UNESCAPED = Constraint("with no backslash at its end", lambda text: not text.endswith("\\"))
"""Line protocol cannot carry that backslash: it would escape what follows."""
TAG_KEY = Constraint(
    "other than host and time, not empty, with no _ at its start and no backslash at its end",
    lambda key: bool(key) and key not in ("host", "time") and key[0] != "_" and key[-1] != "\\",
)
"""`host` has a setting of its own; InfluxDB keeps the other names for itself."""

SERVER = Constraint(
    "of at most 32 characters a-z, 0-9 and single _, a letter first, other than main",
    lambda name: name != MAIN and bool(re.fullmatch(r"[a-z](_?[a-z0-9])*(?<!.{33})", name)),
)
"""A variable such as METRICS_MIRRORS__B__TOKEN carries it. `main` is the server of influxdb_*."""


def setting_name(server: str, part: str) -> str:
    """Return the name of a setting of a server, such as influxdb_url or mirrors.b.url."""
    return f"influxdb_{part}" if server == MAIN else f"mirrors.{server}.{part}"


_DURATION_RE = re.compile(r"([0-9]{1,18})([smhdw])")
_UNITS = MappingProxyType({"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800})


def duration_s(text: str) -> int:
    """Return the seconds of a duration such as 90s, 15m, 1h, 7d or 2w; -1 when it is none."""
    match = _DURATION_RE.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else -1


DURATION = Constraint(
    "such as 30s, 5m, 1h or 1d, from 10s to 7d",
    # It stands in a query: Flux has no number that begins with 0.
    lambda text: text[0] != "0" and text[-1] != "w" and 10 <= duration_s(text) <= 604_800,
)
NOT_EMPTY = Constraint("that is not empty", bool)


def like(example: str) -> Constraint:
    """Return a constraint that allows everything, and shows an example."""
    return Constraint(f"such as {example}", lambda _: True)


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a setting, or of a part of one, apart from its name."""

    kind: Any
    meaning: str = ""
    constraints: tuple[Constraint, ...] = ()
    secret: bool = False

    @property
    def allowed(self) -> str:
        """Say what a value may be, to follow "must be"."""
        if get_origin(self.kind) is Literal:
            *first, last = get_args(self.kind)
            return f"{', '.join(first)} or {last}"
        phrase = _PHRASES.get(get_origin(self.kind) or self.kind, "a table")
        return " ".join((phrase, *(constraint.allowed for constraint in self.constraints)))

    def accepts(self, value: object) -> bool:
        """Tell whether a value of the right type is allowed."""
        return all(constraint.accepts(value) for constraint in self.constraints)

    def show(self, value: object) -> str:
        """Write a value for a message: short, on one line, and without a secret."""
        if self.secret:
            return MASK
        if isinstance(value, dict):
            return "{...}"
        if has_secrets(self.kind):  # what should be a table with one may be text with it
            return MASK
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int) and value.bit_length() > 64:
            return "a number of more than 64 bits"
        if isinstance(value, str):
            for constraint in self.constraints:
                value = re.sub(constraint.hides, MASK, value)
        text = repr(value) if isinstance(value, str) else str(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def specs(owner: type) -> dict[str, Spec]:
    """Return what is declared of each field of a dataclass, by name."""
    hints = get_type_hints(owner, include_extras=True)
    return {field.name: spec(hints[field.name], secret=not field.repr) for field in fields(owner)}


def spec(hint: Any, *, secret: bool = False) -> Spec:
    """Return what a type hint declares; a type that may be None is the type."""
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if isinstance(kind, UnionType):
        (kind,) = (arm for arm in get_args(kind) if arm is not NoneType)
    meaning = " ".join(extra for extra in extras if isinstance(extra, str))
    return Spec(kind, meaning, tuple(e for e in extras if isinstance(e, Constraint)), secret)


def has_secrets(kind: Any) -> bool:
    """Tell whether values of a kind hold a secret."""
    if is_dataclass(kind):
        parts = specs(kind).values()  # type: ignore[arg-type]  # it is a class
        return any(part.secret or has_secrets(part.kind) for part in parts)
    return get_origin(kind) is Mapping and has_secrets(spec(get_args(kind)[1]).kind)


def is_table(owner: type, path: Sequence[str]) -> bool:
    """Tell whether the field at a path of names in a dataclass is declared as a table."""
    kind: Any = owner
    for name in path:
        if is_dataclass(kind):
            declared = specs(kind).get(name)  # type: ignore[arg-type]  # it is a class
            kind = declared.kind if declared else None
        elif get_origin(kind) is Mapping:
            kind = spec(get_args(kind)[1]).kind
        else:
            return False
    return is_dataclass(kind) or get_origin(kind) is Mapping


def as_text(value: object) -> str:
    """Write a setting's value for people: a text as it is, a table as TOML has it on one line.

    Secrets in a table are masked.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if is_dataclass(value) and not isinstance(value, type):
        default = type(value)()
        given = {one: getattr(value, one.name) for one in fields(value)}
        changed = {one: v for one, v in given.items() if v != getattr(default, one.name)}
        return as_text({one.name: v if one.repr else MASK for one, v in changed.items()})
    if isinstance(value, Mapping):
        items = (f"{key} = {_quoted(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}" if value else ""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_quoted, value))}]"
    return str(value)


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else as_text(value)
    return text or "{}"
