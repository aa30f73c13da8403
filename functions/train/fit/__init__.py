"""From the train and tune parts to a fitted network, within the time budget."""

# Of a process, before it imports TensorFlow; what is set already stays. TensorFlow itself turns oneDNN on only for
# processors with instructions for networks (AVX-512 VNNI and later): elsewhere convolutions would take two to three
# times as long. MLflow would give its loggers a form of their own.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "MLFLOW_CONFIGURE_LOGGING": "false"}
