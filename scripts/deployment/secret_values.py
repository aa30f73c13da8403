"""The functions' secrets: their names in stack.yml, and the variables of infra/.env with their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.errors import FieldError, WrongSettings

# Secret -> variable and default. Some S3 servers choose the names of keys; in MinIO a key is named after its function.
VARIABLES = {
    "train-token": ("TRAIN_TOKEN", None),
    "bundle-key": ("BUNDLE_KEY", None),
    "fetch-batch-s3-access-key": ("FETCH_BATCH_S3_ACCESS_KEY", "fetch-batch"),
    "fetch-batch-s3-secret-key": ("FETCH_BATCH_S3_SECRET_KEY", None),
    "train-s3-access-key": ("TRAIN_S3_ACCESS_KEY", "train"),
    "train-s3-secret-key": ("TRAIN_S3_SECRET_KEY", None),
    "train-mlflow-password": ("MLFLOW_TRAIN_PASSWORD", None),
    "classify-mlflow-password": ("MLFLOW_CLASSIFY_PASSWORD", None),
}


def secret_values(names: Iterable[str], settings: Mapping[str, str]) -> dict[str, str]:
    """The value of each secret. Raises WrongSettings naming every variable that is missing."""
    values, errors = {}, []
    for name in sorted(set(names)):
        if name not in VARIABLES:
            errors.append(FieldError(name, "stack.yml names this secret, but scripts/deploy has no variable for it"))
            continue
        variable, default = VARIABLES[name]
        value = settings.get(variable) or default
        if value is None:
            errors.append(
                FieldError(variable, "missing in infra/.env and in the environment; scripts/make-env creates it")
            )
        elif value == "CHANGE-ME":
            errors.append(FieldError(variable, "still CHANGE-ME; `openssl rand -hex 24` generates a value"))
        else:
            values[name] = value
    if errors:
        raise WrongSettings("The secrets", errors)
    return values
