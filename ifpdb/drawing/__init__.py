"""Versions, runs and their lineage made visible: in words, as lanes of text, as SVG and as HTML for notebooks."""
