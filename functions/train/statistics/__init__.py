"""Statistics of a classifier's answers: metrics, calibration, thresholds, linear discriminants. Pure numpy."""
