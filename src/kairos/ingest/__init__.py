"""Ingest: what other systems announce, read and typed after the vocabulary. See docs/events.md."""

from kairos.ingest.cloudevents import EventReader, Readable, Unreadable, UnsupportedMediaTypeError
from kairos.ingest.jmes import written
from kairos.ingest.mappings import Mapped, Mappings, Passed, TooLongError
from kairos.ingest.names import read_name
from kairos.ingest.notifications import Matched, Patterns, Template, compile_patterns
from kairos.ingest.numbers import normalise
from kairos.ingest.riding import refusal

__all__ = [
    "EventReader",
    "Mapped",
    "Mappings",
    "Matched",
    "Passed",
    "Patterns",
    "Readable",
    "Template",
    "TooLongError",
    "Unreadable",
    "UnsupportedMediaTypeError",
    "compile_patterns",
    "normalise",
    "read_name",
    "refusal",
    "written",
]
