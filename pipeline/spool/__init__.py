"""The durable log: every reading from the moment it was taken until its age or the bound."""

from pipeline.spool.block import pack, unpack
from pipeline.spool.reader import Contents, Rejected, SpoolReader
from pipeline.spool.rejected import RejectedLines, UnknownLineError
from pipeline.spool.schema import SpoolError
from pipeline.spool.writer import Batch, Refusal, Spool

__all__ = [
    "Batch",
    "Contents",
    "Refusal",
    "Rejected",
    "RejectedLines",
    "Spool",
    "SpoolError",
    "SpoolReader",
    "UnknownLineError",
    "pack",
    "unpack",
]
