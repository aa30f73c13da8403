"""Collects samples from sources: each is stored at most once, and a lost one is reported."""
