"""Turns a fitted network into the bundle that classify serves."""
