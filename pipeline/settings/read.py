"""Reads the sources by Dynaconf, which merges them and knows where each value came from.

The loader is ours: those of dynaconf run dynaconf_hooks.py, import includes, pass over a file that
they cannot open, name no file in an error, and take a token such as 1e9 for a number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dynaconf
from dynaconf.base import Settings as DynaconfSettings
from dynaconf.loaders.base import SourceMetadata

from pipeline.settings.declared import NAMES
from pipeline.settings.sources import Given, Layer, layers

_LOADER = "metrics-pipeline"
# Put before each name in a table, so that none is an instruction to Dynaconf.
_MARK = "="


class _Isolated(DynaconfSettings):  # type: ignore[misc]  # dynaconf has no types
    """Runs the given loaders only.

    Dynaconf itself would first obey dozens of *_FOR_DYNACONF variables, even against its arguments.
    They may be meant for the embedding program, and os.environ is not ours to change.
    """

    def execute_loaders(self, *_: object, **__: object) -> None:
        for loader in self.loaders:
            loader.load(self)


def read(config_dir: Path, environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    """Read all sources, the later winning: the files, credentials, the environment.

    Tables of several sources are merged; everything else, lists too, replaces what was.

    Returns:
        The top-level values, by name in lower case, and what could not be read.
    """
    found, problems = layers(config_dir, environ)
    # A new object each time: reload() is not atomic.
    merged = dynaconf.Dynaconf(
        _wrapper_class=_Isolated,
        loaders=[__name__],
        envvar="",  # no variable names one more file
        load_dotenv=False,
        layers=found,
    )
    values = merged.as_dict()
    history = dynaconf.get_history(merged, filter_callable=lambda one: one.loader == _LOADER)
    given: dict[str, Given] = {}
    for layer in found:
        for name, value in layer.values.items():
            if name not in NAMES:  # which is for the validator to tell
                given[name] = Given(value, layer.source)
            elif name not in given:
                given[name] = _given(values[name.upper()], (name.upper(),), history)
    return given, problems


def load(settings: Any, *_: object, **__: object) -> None:
    """Load all layers into Dynaconf, which finds this function by the name of this module."""
    for layer in settings.get("layers"):
        settings.update(
            # Unknown names may be dynaconf's own, which would change what it does.
            {name: _hidden(item, layer) for name, item in layer.values.items() if name in NAMES},
            loader_identifier=SourceMetadata(_LOADER, layer.source, "default"),
            merge=True,
            dotted_lookup=False,
            validate=False,
        )


def _hidden(value: object, layer: Layer) -> object:
    """Wrap a value so that Dynaconf neither evaluates it nor appends to a list."""
    if isinstance(value, dict):
        return {_MARK + key: _hidden(item, layer) for key, item in value.items()}
    return Given(value, "", layer.base, layer.text)


def _given(value: Any, path: tuple[str, ...], history: Sequence[Mapping[str, Any]]) -> Given:
    source = _source(path, history)
    if isinstance(value, Given):
        return replace(value, source=source)
    items = {key[1:]: _given(item, (*path, key), history) for key, item in value.items()}
    by_source: dict[str, list[str]] = {}
    for name, one in _parts(items):
        by_source.setdefault(one, []).append(name)
    if by_source:
        source = next(iter(by_source))
    if len(by_source) > 1:
        source = ", ".join(f"{one} ({', '.join(names)})" for one, names in by_source.items())
    return Given(items, source)


def _source(path: Sequence[str], history: Sequence[Mapping[str, Any]]) -> str:
    """Return the last source that gave what stands at a path.

    An entry of the history holds the table as it was then, with what older sources gave.
    """
    source, before = "", None
    for entry in history:
        value = entry["value"]
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and value != before:
            source, before = entry["identifier"], value
    return source


def _parts(items: Mapping[str, Given]) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the source of each value in a table."""
    for key, given in items.items():
        if isinstance(given.value, dict):
            yield from ((f"{key}.{name}", source) for name, source in _parts(given.value))
        else:
            yield key, given.source
