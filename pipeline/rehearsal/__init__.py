"""`rehearse`: proof by a real outage, made on purpose, that nothing is lost."""

from pipeline.rehearsal.play import RehearsalError, Verdict, rehearse

__all__ = ["RehearsalError", "Verdict", "rehearse"]
