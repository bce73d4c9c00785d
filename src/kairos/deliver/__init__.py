"""Deliver: what a message says, in which language, and whether it fits where it is to ride."""

from kairos.deliver.carrying import pdus_of, with_text
from kairos.deliver.links import OfferLinks
from kairos.deliver.messages import JOINT, Messages, compile_messages, compile_pages
from kairos.deliver.template import compile_template
from kairos.deliver.values import Known, Row, Values, offer_values, title_of, values_for, values_of

__all__ = [
    "JOINT",
    "Known",
    "Messages",
    "OfferLinks",
    "Row",
    "Values",
    "compile_messages",
    "compile_pages",
    "compile_template",
    "offer_values",
    "pdus_of",
    "title_of",
    "values_for",
    "values_of",
    "with_text",
]
