"""What MLflow records of a training and of a version."""
