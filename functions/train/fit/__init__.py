"""Fits a network to the train split within the time budget; the tune split guides the fit."""
