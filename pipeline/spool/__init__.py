"""The durable log: every reading from the moment it was taken until its age or the bound."""

from pipeline.settings import MAIN
from pipeline.spool.aging import Aging
from pipeline.spool.contents import COMMITTED, Batch, Cause, Contents, Fact, Gap, Refusal, Rejected
from pipeline.spool.errors import SpoolError, free
from pipeline.spool.history import FieldSummary, SeriesFilter
from pipeline.spool.lock import DirectoryInUseError, DirectoryLock, holder
from pipeline.spool.queue import Queue
from pipeline.spool.reader import SpoolReader
from pipeline.spool.rejected import UnknownLineError, drop_rejected, retry_rejected
from pipeline.spool.rows import joined, pack, unpack
from pipeline.spool.schema import VERSION
from pipeline.spool.series import Series, SeriesBuilder, between, share
from pipeline.spool.spool import Spool

__all__ = [
    "COMMITTED",
    "MAIN",
    "VERSION",
    "Aging",
    "Batch",
    "Cause",
    "Contents",
    "DirectoryInUseError",
    "DirectoryLock",
    "Fact",
    "FieldSummary",
    "Gap",
    "Queue",
    "Refusal",
    "Rejected",
    "Series",
    "SeriesBuilder",
    "SeriesFilter",
    "Spool",
    "SpoolError",
    "SpoolReader",
    "UnknownLineError",
    "between",
    "drop_rejected",
    "free",
    "holder",
    "joined",
    "pack",
    "retry_rejected",
    "share",
    "unpack",
]
