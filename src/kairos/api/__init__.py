"""The HTTP door: events in, health, figures, and why a decision fell as it did."""

from kairos.api.app import create_app
from kairos.api.ingress import Answered, Explanations, Ingress
from kairos.api.operations import Operations

__all__ = ["Answered", "Explanations", "Ingress", "Operations", "create_app"]
