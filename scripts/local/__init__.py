"""Runs Sabueso on one machine without containers, on made-up data."""
