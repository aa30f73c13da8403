"""Where scripts/lineage and scripts/export find store and MLflow."""

import argparse

import pytest

from common.errors import WrongSettings
from local.system import write_settings
from provenance import place
from provenance.place import add_arguments, find_settings, open_place

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
    """A folder with neither a demo nor a deployment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, "ENV_FILE", tmp_path / "infra.env")
    return tmp_path


def demo(folder, environment):
    """What scripts/demo writes when it starts."""
    folder.mkdir()
    places = {"SABUESO_STORE": f"file://{folder}/store", "MLFLOW_TRACKING_URI": "http://127.0.0.1:8081"}
    write_settings(folder, {**environment, **places})


def test_a_demo_says_itself_where_it_keeps_its_data(nowhere):
    demo(nowhere / ".sabueso", {"SABUESO_PIPELINES": str(nowhere / "pipelines"), "HOME": "/root"})
    for words in ((), ("--home", str(nowhere / ".sabueso"))):
        found = find_settings(given(*words), {})
        assert found.store == f"file://{nowhere}/.sabueso/store"
        assert found.mlflow_uri == "http://127.0.0.1:8081"
        assert found.pipelines == nowhere / "pipelines"
    assert find_settings(given("--mlflow", "http://127.0.0.1:9999"), {}).mlflow_uri == "http://127.0.0.1:9999"


def test_a_deployment_is_reached_from_its_own_machine_with_keys_that_read(nowhere):
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


def test_the_environment_counts_as_it_does_for_the_functions(nowhere):
    demo(nowhere / ".sabueso", {})
    environment = {"SABUESO_STORE": "s3://other", "FUNCTION": "train", "MLFLOW_TRACKING_USERNAME": "ana"}
    found = find_settings(given(), environment)
    assert (found.store, found.function, found.mlflow_user) == ("s3://other", "train", "ana")
    assert find_settings(given("--home", ".sabueso"), environment).store == f"file://{nowhere}/.sabueso/store"


@pytest.mark.parametrize(
    ("files", "words", "told"),
    [
        ((), (), "neither"),
        ((".sabueso", "infra.env"), (), "both"),
        ((), ("--home", "other"), "scripts/demo writes it when it starts"),
        ((), ("--env", "other"), "no file other"),
    ],
)
def test_what_is_unclear_is_asked_for(nowhere, files, words, told):
    if ".sabueso" in files:
        demo(nowhere / ".sabueso", {})
    if "infra.env" in files:
        (nowhere / "infra.env").write_text(ENV)
    with pytest.raises(WrongSettings, match=told):
        find_settings(given(*words), {})


def test_every_missing_secret_is_named_and_none_is_told(nowhere):
    (nowhere / "infra.env").write_text("MLFLOW_CLASSIFY_PASSWORD=the-password\n")
    with pytest.raises(WrongSettings, match="TRAIN_S3_SECRET_KEY") as error:
        find_settings(given("--env", "infra.env"), {})
    assert "the-password" not in str(error.value)


def test_a_folder_that_is_not_there_is_not_made(nowhere):
    with pytest.raises(WrongSettings, match=f"no folder {nowhere}/gone"):
        open_place(given(), {"SABUESO_STORE": f"file://{nowhere}/gone"})
    assert not (nowhere / "gone").exists()
