"""A version's page in MLflow shows its metrics and limits, and always fits into MLflow's description."""

import re

import numpy as np
import pytest

from common.inference.contract import (
    Contract,
    ContractColumn,
    Interval,
    Label,
    LabelMetrics,
    Metrics,
    PictureFeatures,
    RowFeatures,
    SplitRule,
    Thresholds,
    Title,
)
from common.inference.pictures import square_view, view_features
from common.pipeline_files import read_pipelines
from common.storage.dataset import SourceDocument
from train.snapshot import SnapshotProfile
from train.tracking.page_text import LIMIT, Origin, about_model, describe_source, version_page_text
from train.tracking.version_page import with_verdict
from train.verdict import Verdict

NAMES = ("small", "middle", "large")


def interval(value):
    return Interval(value=value, low=max(0, value - 0.1), high=min(1, value + 0.1))


def contract_of(names=NAMES, kind="tabular", **changes):
    shares = np.random.default_rng(0).random((4, len(names)))
    metrics = Metrics(
        holdout_size=40 * len(names),
        accuracy=interval(shares[0, 0]),
        macro_f1=interval(shares[1, 0]),
        log_loss=Interval(value=0.5, low=0.25, high=0.75),
        calibration_error=interval(0.03),
    )
    per_class = [
        LabelMetrics(label=name, support=40, precision=interval(shares[2, index]), recall=interval(shares[3, index]))
        for index, name in enumerate(names)
    ]
    petal = ContractColumn(name="petal", type="number", title=Title(en="Petal", es="Pétalo"), examples=[1.5, 2.0, 3.0])
    facts = {
        "pipeline": "flowers",
        "kind": kind,
        "title": Title(en="Made-up flowers", es="Flores"),
        "labels": [Label(value=name, en=name, es=name) for name in names],
        "target": "species",
        "columns": [petal] if kind == "tabular" else [],
        "features": RowFeatures(columns=[]) if kind == "tabular" else PictureFeatures(image_size=96),
        "split": SplitRule(salt="sabueso-1", fractions=(0.7, 0.1, 0.2)),
        "temperature": 1.25,
        "thresholds": Thresholds(sure=0.8125, novelty=6.5),
        "metrics": metrics,
        "per_class": per_class,
        "snapshot": "a" * 64,
        "settings_fingerprint": "b" * 64,
        "examples": 100,
        "made_up": False,
        "trained_at": "2026-01-31T12:00:00.000Z",
        "git_commit": "c" * 40,
    }
    return Contract(**{**facts, **changes})


def origin_of(names=NAMES, labels=None):
    profile = SnapshotProfile(
        num_rows=100,
        parts={"train": 70, "tune": 10, "holdout": 20},
        labels=labels or dict.fromkeys(names, 100),
        conflicting_labels=3,
        samples=9,
    )
    how = {"budget_s": 300, "seed": 7, "plan_epochs": 33, "fit_seconds": 201.5}
    return Origin(SourceDocument(type="table", location="s3://flowers/all.csv"), profile, how, "http://mlflow:5000")


def test_every_metric_comes_with_its_interval_and_the_size_of_the_holdout():
    contract = contract_of()
    page = version_page_text(contract, origin_of())
    assert "| log loss | 0.5000 | 0.2500 to 0.7500 |" in page
    assert contract.metrics.intervals().keys() == {"accuracy", "macro_f1", "log_loss", "calibration_error"}
    for name, metric in contract.metrics.intervals().items():
        assert f"| {name.replace('_', ' ')} | {metric.value:.4f} | {metric.low:.4f} to {metric.high:.4f} |" in page
    assert f"on {contract.metrics.holdout_size} examples of the holdout" in page
    for label in contract.per_class:
        assert f"| {label.label} | {label.support} | {label.precision.value:.3f} (" in page


def test_the_page_explains_statuses_data_and_training():
    page = version_page_text(contract_of(), origin_of())
    for text in ("confidence of 0.812 or more", "novelty above 6.5", "train 70, tune 10, holdout 20", "labels: 3 ("):
        assert text in page
    for text in ("a" * 64, "table `s3://flowers/all.csv`", "seed 7", "plan epochs 33", "fit seconds 201.5", "small 1"):
        assert text in page
    assert "not made up" in page
    assert "made-up data" in version_page_text(contract_of(made_up=True), origin_of())


def test_the_page_says_what_the_network_sees_of_a_picture():
    page = version_page_text(contract_of(kind="image"), origin_of())
    assert "It sees a picture squeezed to a square, scaled to 96 x 96 pixels" in page
    page = version_page_text(contract_of(kind="image", features=view_features(square_view(64, 7 / 8))), origin_of())
    assert "the central 87.5% of the largest central square of a picture, scaled to 64 x 64 pixels" in page


def test_the_page_states_the_error_rate_of_sure_answers_or_that_none_is_sure():
    page = version_page_text(contract_of(thresholds=Thresholds(sure=0.9, error=0.035, novelty=6.5)), origin_of())
    assert "confidence of 0.900 or more; at most 3.5% of them are wrong (with 95 % probability)" in page
    page = version_page_text(contract_of(thresholds=Thresholds(sure=1.0, error=0.2, novelty=6.5)), origin_of())
    assert "`sure`: never: there are too few examples" in page
    assert "20.0%" not in page


def test_labels_with_few_examples_are_listed_among_the_limits():
    page = version_page_text(contract_of(), origin_of(labels={"small": 500, "middle": 29, "large": 30}))
    assert "Fewer than 30 examples: middle." in page


@pytest.mark.parametrize("count", [100, 1000])
def test_a_page_with_many_long_labels_fits_and_shows_the_worst_ones(count):
    names = tuple(f"a rather long name of a label | number {number}" for number in range(count))
    contract, origin = contract_of(names), origin_of(names)
    page = version_page_text(contract, origin)
    verdict = Verdict(decision="kept", reason="not better: " + "because " * 500, score=0.5)
    judged = with_verdict(page, "12", verdict)
    assert len(judged) <= LIMIT
    assert "**kept**: not better" in judged
    assert judged.rstrip().endswith("none of the labels.")
    worst = min(contract.per_class, key=lambda label: label.recall.value).label.replace("|", "\\|")
    assert f"| {worst} |" in page or count > 100
    assert f"of {count} labels" in page
    whole = version_page_text(contract, origin, limit=None)
    assert all(f"number {number} |" in whole for number in range(count))


def test_the_verdict_is_written_without_changing_the_notes_of_a_person():
    page = version_page_text(contract_of(), origin_of()).replace("## Limits", "## Note\n\nLook at dog 7.\n\n## Limits")
    assert "Not judged yet." in page
    kept = Verdict(decision="kept", reason="not better: 0.7 against 0.8", score=0.7)
    once = with_verdict(page, "4", kept)
    assert "**kept**: not better: 0.7 against 0.8\n\n## Load it" in once
    assert "Not judged yet." not in once
    assert "Look at dog 7." in once
    assert 'load_model("models:/flowers/4")' in once
    again = with_verdict(once, "4", Verdict(decision="promoted", reason="better", score=0.9))
    assert "**promoted**: better" in again
    assert "kept" not in again
    assert with_verdict("a page without sections", "4", kept) == "a page without sections"


def test_a_page_without_a_limit_has_the_whole_reason():
    reason = "not better: " + "because " * 500
    verdict = Verdict(decision="kept", reason=reason, score=0.5)
    page = with_verdict(version_page_text(contract_of(), origin_of(), limit=None), "12", verdict, None)
    assert f"**kept**: {reason}\n\n## Load it" in page
    assert page.rstrip().endswith("none of the labels.")


@pytest.mark.parametrize("kind", ["tabular", "image"])
def test_loading_takes_at_most_eight_lines_of_plain_mlflow(kind):
    page = with_verdict(
        version_page_text(contract_of(kind=kind), origin_of()), "3", Verdict(decision="kept", reason="x", score=0.1)
    )
    code = re.search(r"```python\n(.*?)\n```", page, re.DOTALL)[1]
    assert len(code.splitlines()) <= 8
    compile(code, "page", "exec")
    assert "http://mlflow:5000" in code
    assert "sabueso" not in code.lower()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:secret@example.org:8443/rows.csv?token=secret#secret", "`https://example.org:8443/rows.csv`"),
        ("s3://bucket/cats", "`s3://bucket/cats`"),
        ("/data/cats", "`/data/cats`"),
    ],
)
def test_a_source_is_shown_without_credentials(location, shown):
    description = describe_source(SourceDocument(type="table", location=location))
    assert shown in description
    assert "secret" not in description


def test_an_unknown_source_is_shown_as_unknown():
    assert describe_source(None) == "unknown"


def test_the_registered_model_explains_its_alias(make_settings):
    about = about_model(read_pipelines(make_settings("flowers").pipelines)["flowers"])
    assert "4 columns into 3 labels (small, middle, large)" in about
    assert "`champion`" in about
    assert "macro_f1 of at least 0.5" in about
