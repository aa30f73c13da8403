"""Settings are read once, from a mapping, and every mistake is told at once."""

from pathlib import Path

import pytest

from common.container import cores
from common.errors import WrongSettings
from common.settings import VARIABLES, read_settings
from common.web import make_app


def test_an_empty_environment_gives_every_default():
    settings = read_settings({})
    assert settings.store is None
    assert settings.secrets == Path("/var/openfaas/secrets")
    assert (settings.lease_s, settings.refresh_s, settings.max_body_mb) == (60, 15, 20)
    assert settings.workers == min(cores(), 4)
    assert settings.min_interval_s is settings.samples_per_batch is None
    assert (settings.pipelines / "pets.toml").is_file()


def test_an_empty_variable_counts_as_not_set():
    assert read_settings({"SABUESO_LEASE_S": " ", "MLFLOW_TRACKING_URI": ""}) == read_settings(
        {"SABUESO_LEASE_S": " ", "MLFLOW_TRACKING_URI": ""}
    )
    assert read_settings({"SABUESO_LEASE_S": " "}).lease_s == 60


def test_all_mistakes_are_told_together_each_with_its_name_and_value():
    wrong = {
        "SABUESO_STORE": "relative/folder",
        "SABUESO_LEASE_S": "soon",
        "SABUESO_MAX_BODY_MB": "-1",
        "SABUESO_CALLS": "0",
        "MLFLOW_TRACKING_URI": "mlflow:5000",
        "SABUESO_SCRATCH": "here",
        "SABUESO_TRIGGER": "perhaps",
    }
    with pytest.raises(WrongSettings) as caught:
        read_settings(wrong)
    assert {error.field for error in caught.value.errors} == set(wrong)
    for name, value in wrong.items():
        assert name in caught.value.detail
        assert repr(value) in caught.value.detail


@pytest.mark.parametrize("value", ["nan", "inf", "0", "1e10", "ten"])
def test_a_number_that_makes_no_sense_never_becomes_a_default(value):
    with pytest.raises(WrongSettings, match="SABUESO_REFRESH_S"):
        read_settings({"SABUESO_REFRESH_S": value})


@pytest.mark.parametrize("value", ["file://relative", "file:relative", "s3://", "http://host/x", "/folder"])
def test_a_store_is_an_absolute_folder_or_a_bucket(value):
    with pytest.raises(WrongSettings, match="SABUESO_STORE"):
        read_settings({"SABUESO_STORE": value})


def test_urls_lose_the_slash_at_their_end():
    assert read_settings({"MLFLOW_TRACKING_URI": "http://mlflow:5000/"}).mlflow_uri == "http://mlflow:5000"


def test_a_secret_is_read_when_used_so_that_an_update_shows_at_once(tmp_path):
    settings = read_settings({"SABUESO_SECRETS": str(tmp_path)})
    (tmp_path / "train-token").write_text("first\n")
    assert settings.secret("train-token") == "first"
    (tmp_path / "train-token").write_text("second")
    assert settings.secret("train-token") == "second"


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_missing_or_empty_secret_is_told_with_its_path(tmp_path, content):
    if content is not None:
        (tmp_path / "bundle-key").write_text(content)
    with pytest.raises(WrongSettings, match=f"{tmp_path}/bundle-key"):
        read_settings({"SABUESO_SECRETS": str(tmp_path)}).secret("bundle-key")


def test_a_function_that_needs_a_store_says_which_variable_is_missing():
    with pytest.raises(WrongSettings, match="SABUESO_STORE"):
        read_settings({}).require_store()


def test_every_variable_has_a_name_of_its_own_and_a_meaning():
    assert len({variable.name for variable in VARIABLES}) == len({variable.field for variable in VARIABLES})
    assert all(variable.meaning for variable in VARIABLES)


def test_what_pipeline_files_may_name_does_not_change_with_the_environment_it_came_from():
    environment = {"PETS_SOURCE": "/one"}
    settings = read_settings(environment)
    environment["PETS_SOURCE"] = "/two"
    assert settings.environment["PETS_SOURCE"] == "/one"


@pytest.mark.parametrize(
    ("raw", "pets", "covertype"),
    [("", 100, 100), ("30", 30, 30), ("pets=300,covertype=60", 300, 60), ("pets=5", 5, 100)],
)
def test_a_training_budget_is_for_every_pipeline_or_for_one(raw, pets, covertype):
    settings = read_settings({"SABUESO_BUDGET_S": raw})
    assert (settings.budget_s("pets", 100), settings.budget_s("covertype", 100)) == (pets, covertype)


@pytest.mark.parametrize(
    ("raw", "pets", "covertype"), [("", None, None), ("3", 3, 3), ("pets=4,covertype=2", 4, 2), ("pets=5", 5, None)]
)
def test_a_number_of_epochs_is_for_every_pipeline_or_for_one(raw, pets, covertype):
    settings = read_settings({"SABUESO_EPOCHS": raw})
    assert (settings.epochs("pets"), settings.epochs("covertype")) == (pets, covertype)


def test_readiness_tells_the_deployment_that_it_belongs_to(make_settings):
    settings = make_settings("flowers", SABUESO_DEPLOYMENT="the-newest")
    told = make_app("classify", settings, {}).test_client().get("/readyz").json
    assert told == {"status": "ok", "deployment": "the-newest"}
