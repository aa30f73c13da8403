"""What train and classify must compute alike. It goes into MLflow with a version."""
