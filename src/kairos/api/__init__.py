"""The HTTP door: events in, health, figures, and why a decision fell as it did."""

from kairos.api.app import create_app
from kairos.api.ingress import Answered, Explanations, Ingress

__all__ = ["Answered", "Explanations", "Ingress", "create_app"]
