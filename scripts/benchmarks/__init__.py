"""Measures trainings, classify against its peers, and a running deployment over HTTP."""
