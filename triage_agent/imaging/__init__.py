"""Radiographs: which instances to score, and their pixels as a radiologist's display would show them."""
