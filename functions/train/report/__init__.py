"""What MLflow is told of a training and of a version."""
