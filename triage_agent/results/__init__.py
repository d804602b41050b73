"""Decisions and flags to artifacts. Pure: no clock, no I/O, equal bytes for equal input."""
