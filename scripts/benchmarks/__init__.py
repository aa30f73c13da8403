"""Measures trainings, and a running deployment as its users reach it over HTTP."""
