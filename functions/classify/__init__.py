"""Answers with the champion: keeps its bundle, looks for a new one, predicts."""
