"""Measures a running deployment over HTTP, as its users reach it."""
