"""Turns what is stored into a version: snapshot, fit, evaluate, export, register, gate."""
