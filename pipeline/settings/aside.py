"""Work in a process of its own, which takes the memory that it needed with it."""

import io
import os
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, TypeVar

T = TypeVar("T")


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, MappingProxyType):
            return _mapping, (dict(value),)
        return NotImplemented


def _mapping(items: dict[object, object]) -> MappingProxyType[object, object]:
    return MappingProxyType(items)


def aside(work: Callable[[], T]) -> T:
    """Return what work returns; it is done in a fork of this process, which has no other thread.

    What fails there is done again here, and fails here.

    Args:
        work: Leaves nothing behind but what it returns, which can be pickled.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            packed = io.BytesIO()
            _Pickler(packed).dump(work())
            with open(writer, "wb") as pipe:  # noqa: PTH123  # no path
                pipe.write(packed.getvalue())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123  # no path
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        return work()
    result: T = pickle.loads(data)  # noqa: S301  # this program's own
    return result
