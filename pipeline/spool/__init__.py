"""The durable log: every reading from the moment it was taken until its age or the bound."""

from pipeline.spool.aging import Aging
from pipeline.spool.batch import Batch, Refusal
from pipeline.spool.block import joined, pack, unpack
from pipeline.spool.contents import Contents, Rejected
from pipeline.spool.gap import Gap
from pipeline.spool.reader import SpoolReader
from pipeline.spool.rejected import RejectedLines, UnknownLineError
from pipeline.spool.schema import SALVAGE, SpoolError, free
from pipeline.spool.writer import Spool

__all__ = [
    "SALVAGE",
    "Aging",
    "Batch",
    "Contents",
    "Gap",
    "Refusal",
    "Rejected",
    "RejectedLines",
    "Spool",
    "SpoolError",
    "SpoolReader",
    "UnknownLineError",
    "free",
    "joined",
    "pack",
    "unpack",
]
