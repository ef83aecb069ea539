"""What differs between two readings of the settings, for people."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from pipeline.settings.constraints import MASK, as_text, specs
from pipeline.settings.declared import Settings
from pipeline.settings.load import Loaded


def changes(old: Loaded, new: Loaded) -> Iterator[str]:
    """Say of each setting that differs what it was and is; of a table, of each option in it."""
    for name, declared in specs(Settings).items():
        was, now = getattr(old.settings, name), getattr(new.settings, name)
        for path, before, after in _differences(name, was, now, secret=declared.secret):
            sources = _source(old, name, path), _source(new, name, path)
            yield f"{path}: {before or '-'} ({sources[0]}) becomes {after or '-'} ({sources[1]})"


def _source(loaded: Loaded, setting: str, path: str) -> str:
    """Return the source of an option, or of its table where one variable gives all of that."""
    in_parts = any(each.startswith(f"{setting}.") for each in loaded.sources)
    return loaded.sources.get(path, "default" if in_parts else loaded.sources[setting])


def _differences(
    path: str, old: object, new: object, *, secret: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each option that differs, as in `mirrors.b.url`, and its two values."""
    if old == new:
        return
    was, now = _options(old), _options(new)
    if was is None or now is None:
        before, after = (MASK if secret and text else text for text in map(as_text, (old, new)))
        yield path, before, after
        return
    for name in dict.fromkeys((*was, *now)):
        (one, hidden), (other, _) = (options.get(name, (None, False)) for options in (was, now))
        yield from _differences(f"{path}.{name}", one, other, secret=hidden)


def _options(value: object) -> dict[str, tuple[object, bool]] | None:
    """Return the options of a table, and of each whether it is a secret; None of a single value."""
    if isinstance(value, Mapping):
        return {name: (option, False) for name, option in value.items()}
    if is_dataclass(value):
        return {one.name: (getattr(value, one.name), not one.repr) for one in fields(value)}
    return None
