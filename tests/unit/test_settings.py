"""Settings are read once, from a mapping, and every mistake is reported at once."""

import ast
from pathlib import Path

import pytest

from all_settings import read_settings
from classify.settings import ClassifySettings
from common.container import cores
from common.errors import WrongSettings
from common.redaction import redact
from common.settings import variables
from common.web import make_app
from fetch_batch.settings import FetchSettings
from train.settings import TrainSettings

FUNCTIONS = Path(__file__).parents[2] / "functions"
SETTINGS = {"fetch_batch": FetchSettings, "train": TrainSettings, "classify": ClassifySettings}


def test_an_empty_environment_gives_every_default():
    settings = read_settings({})
    assert settings.store is None
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)  # noqa: S104
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


def test_all_mistakes_are_reported_together_with_name_value_and_meaning():
    wrong = {
        "SABUESO_STORE": "relative/folder",
        "SABUESO_LEASE_S": "soon",
        "SABUESO_MAX_BODY_MB": "-1",
        "SABUESO_CALLS": "0",
        "PORT": "70000",
        "SABUESO_BUDGET_S": "pets=long",
        "MLFLOW_TRACKING_URI": "mlflow:5000",
        "SABUESO_SCRATCH": "here",
        "SABUESO_TRIGGER": "perhaps",
        "SABUESO_CORS_ORIGINS": "https://good.example, bad.example",
    }
    with pytest.raises(WrongSettings) as refused:
        read_settings(wrong)
    details = {error.field: error.detail for error in refused.value.errors}
    assert details.keys() == wrong.keys()
    meanings = {name: meaning for one in SETTINGS.values() for name, meaning in variables(one).items()}
    for name, value in wrong.items():
        assert repr(value) in details[name]
        assert meanings[name] in details[name]
        assert f"{name}: {details[name]}" in refused.value.detail


@pytest.mark.parametrize("value", ["nan", "inf", "0", "1e10", "ten"])
def test_a_wrong_number_never_becomes_the_default(value):
    with pytest.raises(WrongSettings, match="SABUESO_REFRESH_S"):
        read_settings({"SABUESO_REFRESH_S": value})


@pytest.mark.parametrize("value", ["file://relative", "file:relative", "s3://", "http://host/x", "/folder"])
def test_a_store_is_an_absolute_folder_or_a_bucket(value):
    with pytest.raises(WrongSettings, match="SABUESO_STORE"):
        read_settings({"SABUESO_STORE": value})


def test_a_trailing_slash_of_a_url_is_removed():
    assert read_settings({"MLFLOW_TRACKING_URI": "http://mlflow:5000/"}).mlflow_uri == "http://mlflow:5000"


@pytest.mark.parametrize(
    "text", ["https://a.example,http://localhost:8000", " https://a.example  http://localhost:8000,"]
)
def test_origins_are_separated_by_commas_or_spaces(text):
    assert read_settings({"SABUESO_CORS_ORIGINS": text}).cors_origins == ("https://a.example", "http://localhost:8000")
    assert read_settings({"SABUESO_CORS_ORIGINS": "*"}).cors_origins == ("*",)


WRONG_ORIGINS = [
    *("a.example", "https://", "https://a.example/", "https://a.example/site", "https://a.example:443"),
    *("http://a.example:80", "https://*.a.example", "https://a.example:", "https://a.example:x", "https://[::1]:8000"),
    *(
        "https://ñandú.example",
        "ftp://a.example",
        "null",
        "https://ana@a.example",
        "https://a.example;https://b.example",
    ),
]


def test_every_text_that_is_not_an_origin_of_a_browser_is_reported():
    with pytest.raises(WrongSettings) as refused:
        read_settings({"SABUESO_CORS_ORIGINS": " ".join(["https://a.example", *WRONG_ORIGINS])})
    [error] = refused.value.errors
    assert redact(f": {', '.join(WRONG_ORIGINS)}: not an origin") in error.detail


def test_an_updated_secret_takes_effect_at_once(tmp_path):
    settings = read_settings({"SABUESO_SECRETS": str(tmp_path)})
    (tmp_path / "train-token").write_text("first\n")
    assert settings.secret("train-token") == "first"
    (tmp_path / "train-token").write_text("second")
    assert settings.secret("train-token") == "second"


@pytest.mark.parametrize("content", [None, " \n"])
def test_an_error_about_a_missing_or_empty_secret_has_its_path(tmp_path, content):
    if content is not None:
        (tmp_path / "bundle-key").write_text(content)
    with pytest.raises(WrongSettings, match=f"{tmp_path}/bundle-key"):
        read_settings({"SABUESO_SECRETS": str(tmp_path)}).secret("bundle-key")


def test_a_function_without_its_store_is_refused_naming_the_variable():
    with pytest.raises(WrongSettings, match="SABUESO_STORE"):
        FetchSettings.read({}).require_store()


@pytest.mark.parametrize("function", SETTINGS)
def test_every_variable_has_a_meaning_and_one_field(function):
    fields = [field for field in SETTINGS[function].model_fields.values() if field.alias is not None]
    assert len({field.alias for field in fields}) == len(fields) > 0
    assert all(variables(SETTINGS[function]).values())


def test_a_variable_that_functions_share_means_the_same_in_each():
    meanings = {}
    for settings in SETTINGS.values():
        for name, meaning in variables(settings).items():
            assert meanings.setdefault(name, meaning) == meaning


def imported_files(package):
    """server.py and the files of a function, with every file of common/ that they import."""
    files, unread = set(), [FUNCTIONS / "server.py", *(FUNCTIONS / package).rglob("*.py")]
    while unread:
        file = unread.pop()
        if file in files or not file.exists():
            continue
        files.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("common"):
                path = FUNCTIONS.joinpath(*node.module.split("."))
                unread += [path.with_suffix(".py"), *(path / f"{name.name}.py" for name in node.names)]
    return files


def attributes_of(tree, *names):
    """NAME of every `settings.NAME`, `x.settings.NAME` or `x._settings.NAME`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in names:
                found.add(node.attr)
    return found


@pytest.mark.parametrize("function", SETTINGS)
def test_a_function_s_settings_hold_only_what_its_code_reads(function):
    files = imported_files(function)
    read = set().union(
        *(attributes_of(ast.parse(file.read_text()), "settings", "_settings", "limits") for file in files)
    )
    # A property or method that is read reads fields in turn.
    methods = {
        node.name: attributes_of(node, "self")
        for file in (FUNCTIONS / "common" / "settings.py", FUNCTIONS / function / "settings.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    pending = list(read)
    while pending:
        new = methods.get(pending.pop(), set()) - read
        read |= new
        pending += new
    held = {name for name, field in SETTINGS[function].model_fields.items() if field.alias is not None}
    assert held - read == set()


def test_settings_keep_a_copy_of_the_environment():
    environment = {"PETS_SOURCE": "/one"}
    settings = read_settings(environment)
    environment["PETS_SOURCE"] = "/two"
    assert settings.environment["PETS_SOURCE"] == "/one"


@pytest.mark.parametrize(
    ("raw", "pets", "covertype"),
    [("", 100, 100), ("30", 30, 30), ("pets=300,covertype=60", 300, 60), ("pets=5", 5, 100)],
)
def test_a_training_budget_is_for_every_pipeline_or_for_one(raw, pets, covertype):
    settings = TrainSettings.read({"SABUESO_BUDGET_S": raw})
    assert (settings.budget_s("pets", 100), settings.budget_s("covertype", 100)) == (pets, covertype)


@pytest.mark.parametrize(
    ("raw", "pets", "covertype"), [("", None, None), ("3", 3, 3), ("pets=4,covertype=2", 4, 2), ("pets=5", 5, None)]
)
def test_a_number_of_epochs_is_for_every_pipeline_or_for_one(raw, pets, covertype):
    settings = TrainSettings.read({"SABUESO_EPOCHS": raw})
    assert (settings.epochs("pets"), settings.epochs("covertype")) == (pets, covertype)


def test_readiness_names_the_deployment(make_settings):
    settings = make_settings("flowers", SABUESO_DEPLOYMENT="the-newest")
    answer = make_app("classify", settings, {}).test_client().get("/readyz").json
    assert answer == {"status": "ok", "deployment": "the-newest"}


@pytest.mark.parametrize(
    "value",
    [
        "htp://ana:p4ss-Zq9@mlflow:5000",
        "ana:p4ss-Zq9@mlflow:5000",
        "http:/ana:p4ss Zq9@mlflow",
        "ana p4ss-Zq9@mlflow?key=p4ss-Zq9",
    ],
)
@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL_S3", "SABUESO_STORE", "SABUESO_MLFLOW_PUBLIC_URL"]
)
def test_a_wrong_url_is_named_without_the_password_in_it(name, value):
    with pytest.raises(WrongSettings) as refused:
        TrainSettings.read({name: value})
    assert name in refused.value.detail
    assert "mlflow" in refused.value.detail
    assert "Zq9" not in f"{refused.value.detail} {refused.value.errors}"


def test_settings_can_be_made_of_settings():
    """As scripts/backup does, with another way to get keys."""
    settings = read_settings({"SABUESO_CORS_ORIGINS": "https://a.example https://b.example"})
    assert type(settings)(**dict(settings)) == settings
