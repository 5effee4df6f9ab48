"""Intervals over seeds and probes."""
