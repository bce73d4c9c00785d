"""The HTTP door: events in, health, figures, and why a decision fell as it did."""

from kairos.api.app import create_app

__all__ = ["create_app"]
