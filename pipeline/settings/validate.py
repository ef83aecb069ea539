"""Turns values as given into values as declared, and says all that is wrong with them."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin
from unicodedata import category

from pipeline.settings.constraints import Spec, spec, specs
from pipeline.settings.sources import Given, toml_value

_WORDS = MappingProxyType(
    dict.fromkeys(("true", "1", "yes", "on"), True)
    | dict.fromkeys(("false", "0", "no", "off"), False)
)
_WHOLE_RE = re.compile(r"\s*[+-]?[0-9]{1,30}\s*")
_LISTED = 12


class _RefusedError(Exception):
    """A value that is not allowed; the text, if any, says why."""


class Validator:
    """Turns given values into those of a dataclass, and gathers all that is wrong with them.

    Args:
        owner: The dataclass.
        collectors: The names that the table `collectors` may have.
        home: The folder that `~` stands for; "" when not known.

    Attributes:
        problems: One sentence for each value that was refused.
    """

    def __init__(self, owner: type, collectors: Collection[str], home: str) -> None:
        self.problems: list[str] = []
        self._specs = specs(owner)
        self._collectors = collectors
        self._home = home

    def values(self, given: Mapping[str, Given]) -> dict[str, Any]:
        """Return the accepted values by field name, without those not given or refused."""
        return self._fields(self._specs, given)

    def _fields(
        self, known: Mapping[str, Spec], given: Mapping[str, Given], prefix: str = ""
    ) -> dict[str, Any]:
        accepted: dict[str, Any] = {}
        for name, item in given.items():
            if name in known:
                self._store(accepted, name, known[name], item, prefix + name)
            elif prefix and name in self._specs:
                place = "belongs above the first [table] of the file"
                self._report(item, f"{prefix}{name} is not an option; the setting {name} {place}")
            else:
                self._unknown(item, prefix, name, known, "an option" if prefix else "a setting")
        return accepted

    def _store(
        self, accepted: dict[str, Any], key: str, declared: Spec, given: Given, name: str
    ) -> None:
        try:
            value = self._convert(declared, given, name)
            # An empty text is as good as none.
            if value not in ("", None) and not declared.accepts(value):
                raise _RefusedError
            accepted[key] = value
        except _RefusedError as error:
            reason = str(error) or f"must be {declared.allowed}"
            if isinstance(given.value, str) and declared.kind in (int, float, bool):
                reason += "" if given.text else ", without quotes"
            self._report(given, f"{_plain(name)} = {declared.show(given.value)} {reason}")

    def _convert(self, declared: Spec, given: Given, name: str) -> Any:
        kind = get_origin(declared.kind) or declared.kind
        if kind is Mapping:
            return self._mapping(declared, given, name)
        if is_dataclass(kind):
            return self._options(kind, given, name)
        if kind is Path:
            return self._path(given)
        if kind is Literal:
            return _choice(given, get_args(declared.kind))
        if declared.secret and isinstance(given.value, str):
            # A token comes out of many a file with a line break at its end.
            given = replace(given, value=given.value.strip())
        return {int: _whole, float: _number, bool: _flag, str: _text, tuple: _texts}[kind](given)

    def _mapping(self, declared: Spec, given: Given, name: str) -> Mapping[str, Any]:
        if not isinstance(given.value, dict):
            raise _RefusedError
        keys, items = (spec(hint) for hint in get_args(declared.kind))
        accepted: dict[str, Any] = {}
        for key, item in given.value.items():
            full = f"{name}.{key}"
            if name == "collectors" and key not in self._collectors:
                self._unknown(item, "collectors.", key, self._collectors, "a collector")
            elif _unprintable(key) or not keys.accepts(key):
                allowed = " and ".join(constraint.allowed for constraint in keys.constraints)
                self._report(item, f"{_plain(full)} must have a name {allowed}")
            else:
                self._store(accepted, key, items, item, full)
        return MappingProxyType(accepted)

    def _options(self, owner: Any, given: Given, name: str) -> Any:
        if not isinstance(given.value, dict):
            raise _RefusedError
        return owner(**self._fields(specs(owner), given.value, f"{name}."))

    def _path(self, given: Given) -> Path | None:
        text = _text(given)
        if text == "~" or text.startswith("~/"):
            if not self._home:
                raise _RefusedError("must be spelled out: there is no HOME that ~ could stand for")
            return Path(self._home + text[1:])
        if not text:
            return None
        return Path(given.base or "", text).absolute()

    def _unknown(
        self, given: Given, prefix: str, name: str, known: Iterable[str], what: str
    ) -> None:
        names = tuple(known)
        if near := difflib.get_close_matches(name.lower(), names, n=1):
            hint = f"did you mean {prefix}{near[0]}?"
        elif len(names) > _LISTED:
            hint = "docs/settings.md lists them all"
        else:
            hint = f"there are {', '.join(names) or 'none'}"
        self._report(given, f"{_plain(prefix + name)} is not {what}; {hint}")

    def _report(self, given: Given, sentence: str) -> None:
        self.problems.append(f"{given.source}: {sentence}")


def refusal(owner: type, name: str, value: str) -> str:
    """Return what is wrong with a text for a setting that is a text; "" when nothing is."""
    declared = specs(owner)[name]
    try:
        text = _text(Given(value, ""))
    except _RefusedError as error:
        return str(error)
    if text and not declared.accepts(text):
        return f"{declared.show(text)} must be {declared.allowed}"
    return ""


def _plain(name: str) -> str:
    return name if name.isprintable() and name and name[-1] != "." else repr(name)


def _unprintable(text: str) -> bool:
    # Cs are the bytes of an environment that are not UTF-8.
    return any(category(character) in ("Cc", "Cs") for character in text)


def _whole(given: Given) -> int:
    value = given.value
    if given.text and _WHOLE_RE.fullmatch(str(value)):
        return int(str(value))
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RefusedError
    return value


def _number(given: Given) -> float:
    value = given.value
    if given.text:
        try:
            return float(str(value))
        except ValueError:
            raise _RefusedError from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError
    return value


def _flag(given: Given) -> bool:
    value = _WORDS.get(str(given.value).strip().lower()) if given.text else given.value
    if not isinstance(value, bool):
        raise _RefusedError
    return value


def _choice(given: Given, choices: Collection[object]) -> object:
    value = str(given.value).strip() if given.text else given.value
    if value not in choices:
        raise _RefusedError
    return value


def _text(given: Given) -> str:
    if not isinstance(given.value, str):
        raise _RefusedError("must be text in quotes")
    if _unprintable(given.value):
        raise _RefusedError("must hold no control characters and nothing but UTF-8")
    return given.value


def _texts(given: Given) -> tuple[str, ...]:
    value = toml_value(str(given.value)) if given.text else given.value
    if not isinstance(value, list):
        raise _RefusedError
    return tuple(_text(Given(item, given.source)) for item in value)
