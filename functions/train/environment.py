"""Environment variables of a process that will import TensorFlow. Imports nothing, because the supervisor uses it."""

# TensorFlow turns oneDNN on by itself only for processors with AVX-512 VNNI and later; elsewhere convolutions would
# take two to three times as long. MLflow would give its loggers a format of their own.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "MLFLOW_CONFIGURE_LOGGING": "false"}
