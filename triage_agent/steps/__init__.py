"""Unified Procedure Steps (PS3.4 annex CC), however they are asked for: data sets, matching, and the desk's rules."""
