"""Fits: which training a track has seen, and what it was given."""
