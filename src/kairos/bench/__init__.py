"""Benchmarks: one run a file, one JSON object each (`kairos bench NAME --json`)."""
