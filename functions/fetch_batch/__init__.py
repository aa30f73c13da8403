"""Collects what the sources give out: each sample stored at most once, none lost unreported."""
