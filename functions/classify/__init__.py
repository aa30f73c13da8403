"""Answers with the champion: keeps its bundle, polls for a new one, predicts."""
