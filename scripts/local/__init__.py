"""Runs Sabueso on one machine with no container, on made-up data."""
