"""Where scripts/lineage and scripts/export find the store and MLflow."""

import argparse

import pytest

from common.errors import WrongSettings
from local.system import write_settings
from provenance import data_access
from provenance.data_access import add_arguments, find_settings, open_data

ENV = """SABUESO_STORE=s3://sabueso/prefix
AWS_ENDPOINT_URL_S3=http://minio:9000
MLFLOW_TRACKING_URI=http://mlflow:5000
MINIO_PORT=9100
MLFLOW_PORT=5100
TRAIN_S3_SECRET_KEY=the-key
MLFLOW_CLASSIFY_PASSWORD=the-password
"""


def given(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["flowers", *words])


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder without demo and deployment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_access, "ENV_FILE", tmp_path / "infra.env")
    return tmp_path


def demo(folder, environment):
    """What scripts/demo writes when it starts."""
    folder.mkdir()
    places = {"SABUESO_STORE": f"file://{folder}/store", "MLFLOW_TRACKING_URI": "http://127.0.0.1:8081"}
    write_settings(folder, {**environment, **places})


def test_a_demo_s_folder_names_its_store_and_mlflow(nowhere):
    demo(nowhere / ".sabueso", {"SABUESO_PIPELINES": str(nowhere / "pipelines"), "HOME": "/root"})
    for words in ((), ("--home", str(nowhere / ".sabueso"))):
        found = find_settings(given(*words), {})
        assert found.store == f"file://{nowhere}/.sabueso/store"
        assert found.mlflow_uri == "http://127.0.0.1:8081"
        assert found.pipelines == nowhere / "pipelines"
    assert find_settings(given("--mlflow", "http://127.0.0.1:9999"), {}).mlflow_uri == "http://127.0.0.1:9999"


def test_a_deployment_is_reached_through_its_published_ports_with_reading_keys(nowhere):
    (nowhere / "infra.env").write_text(ENV)
    for words in (("--env", str(nowhere / "infra.env")), ()):
        found = find_settings(given(*words), {"MINIO_PORT": ""})
        assert (found.store, found.s3_endpoint) == ("s3://sabueso/prefix", "http://127.0.0.1:9100")
        assert (found.mlflow_uri, found.mlflow_user) == ("http://127.0.0.1:5100", "classify")
        assert found.own_secret("s3-access-key") == "train"
        assert found.own_secret("s3-secret-key") == "the-key"
        assert found.own_secret("mlflow-password") == "the-password"
    elsewhere = find_settings(given("--env", str(nowhere / "infra.env"), "--s3-endpoint", "http://s3:7070"), {})
    assert elsewhere.s3_endpoint == "http://s3:7070"


def test_the_environment_is_read_as_the_functions_read_it(nowhere):
    demo(nowhere / ".sabueso", {})
    environment = {"SABUESO_STORE": "s3://other", "FUNCTION": "train", "MLFLOW_TRACKING_USERNAME": "ana"}
    found = find_settings(given(), environment)
    assert (found.store, found.function, found.mlflow_user) == ("s3://other", "train", "ana")
    assert find_settings(given("--home", ".sabueso"), environment).store == f"file://{nowhere}/.sabueso/store"


@pytest.mark.parametrize(
    ("files", "words", "message"),
    [
        ((), (), "neither"),
        ((".sabueso", "infra.env"), (), "both"),
        ((), ("--home", "other"), "scripts/demo writes it when it starts"),
        ((), ("--env", "other"), "no file other"),
    ],
)
def test_an_ambiguous_deployment_is_an_error(nowhere, files, words, message):
    if ".sabueso" in files:
        demo(nowhere / ".sabueso", {})
    if "infra.env" in files:
        (nowhere / "infra.env").write_text(ENV)
    with pytest.raises(WrongSettings, match=message):
        find_settings(given(*words), {})


def test_missing_secrets_are_named_and_values_are_not_shown(nowhere):
    (nowhere / "infra.env").write_text("MLFLOW_CLASSIFY_PASSWORD=the-password\n")
    with pytest.raises(WrongSettings, match="TRAIN_S3_SECRET_KEY") as error:
        find_settings(given("--env", "infra.env"), {})
    assert "the-password" not in str(error.value)


def test_a_missing_store_folder_is_not_created(nowhere):
    with pytest.raises(WrongSettings, match=f"no folder {nowhere}/gone"):
        open_data(given(), {"SABUESO_STORE": f"file://{nowhere}/gone"})
    assert not (nowhere / "gone").exists()
