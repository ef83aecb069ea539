"""The durable log: every reading from the moment it was taken until its age or the bound."""

from pipeline.spool.aging import Aging
from pipeline.spool.batch import Batch, Refusal
from pipeline.spool.block import joined, pack, unpack
from pipeline.spool.contents import Contents, Rejected
from pipeline.spool.facts import Fact
from pipeline.spool.gap import Gap
from pipeline.spool.history import Held, Wanted, read, seconds
from pipeline.spool.lock import DirectoryInUseError, DirectoryLock, holder
from pipeline.spool.reader import SpoolReader
from pipeline.spool.rejected import RejectedLines, UnknownLineError
from pipeline.spool.schema import VERSION, SpoolError, free
from pipeline.spool.series import Growing, Series
from pipeline.spool.writer import Spool

__all__ = [
    "VERSION",
    "Aging",
    "Batch",
    "Contents",
    "DirectoryInUseError",
    "DirectoryLock",
    "Fact",
    "Gap",
    "Growing",
    "Held",
    "Refusal",
    "Rejected",
    "RejectedLines",
    "Series",
    "Spool",
    "SpoolError",
    "SpoolReader",
    "UnknownLineError",
    "Wanted",
    "free",
    "holder",
    "joined",
    "pack",
    "read",
    "seconds",
    "unpack",
]
