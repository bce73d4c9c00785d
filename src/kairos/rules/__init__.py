"""Rules: SQL boolean expressions."""
