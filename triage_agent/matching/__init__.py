"""Matching of what is asked for with what is known, as searches want it (PS3.4 section C.2.2.2). Pure."""
