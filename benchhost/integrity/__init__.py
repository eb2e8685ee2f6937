"""Tells whether a benchmark is sound: fit to grade, without leaks, and hard to probe."""
