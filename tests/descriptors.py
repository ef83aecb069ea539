"""How many files this process has open."""

import gc

import psutil


def opened() -> int:
    """Returns how many it has open, once what nobody holds any more is closed."""
    gc.collect()
    return psutil.Process().num_fds()
