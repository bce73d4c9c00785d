"""kairos: real-time customer value management for mobile operators."""

__version__ = "0.1.0"
