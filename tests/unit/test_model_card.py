"""A version's page in MLflow tells its numbers with their meaning, and always fits."""

import re

import numpy as np
import pytest

from common.pictures import square_view, view_features
from common.pipelines import read_pipelines
from train.judge.gate import Verdict
from train.report.model_card import LIMIT, Making, about_model, model_card, source_in_words, with_verdict


def interval(value):
    return {"value": value, "low": max(0, value - 0.1), "high": min(1, value + 0.1)}


def contract_of(names=("small", "middle", "large"), kind="tabular", **more):
    shares = np.random.default_rng(0).random((4, len(names)))
    metrics = {"holdout_size": 40 * len(names), "accuracy": interval(shares[0, 0]), "macro_f1": interval(shares[1, 0])}
    per_class = [
        {"label": name, "support": 40, "precision": interval(shares[2, place]), "recall": interval(shares[3, place])}
        for place, name in enumerate(names)
    ]
    columns = [{"name": "petal", "type": "number", "examples": [1.5, 2.0, 3.0]}] if kind == "tabular" else []
    return {
        "pipeline": "flowers",
        "kind": kind,
        "title": {"en": "Made-up flowers", "es": "Flores"},
        "labels": [{"value": name, "en": name, "es": name} for name in names],
        "columns": columns,
        "features": {"image_size": 96},
        "temperature": 1.25,
        "thresholds": {"sure": 0.8125, "novelty": 6.5},
        "metrics": metrics,
        "per_class": per_class,
        "snapshot": "a" * 64,
        "settings": "b" * 64,
        "made_up": False,
        "trained_at": "2026-01-31T12:00:00.000Z",
        "git_commit": "c" * 40,
        **more,
    }


def making_of(names=("small", "middle", "large"), **more):
    labels = dict.fromkeys(names, 100)
    parts = {"train": 70, "tune": 10, "holdout": 20}
    profile = {"num_rows": 100, "parts": parts, "labels": labels, "conflicting_labels": 3, "samples": 9, **more}
    how = {"budget_s": 300, "seed": 7, "plan_epochs": 33, "fit_seconds": 201.5}
    return Making({"type": "table", "location": "s3://flowers/all.csv"}, profile, how, "http://mlflow:5000")


def test_every_figure_comes_with_its_interval_and_the_size_of_the_holdout():
    contract = contract_of()
    contract["metrics"]["top_3_accuracy"] = {"value": 0.5, "low": 0.25, "high": 0.75}
    page = model_card(contract, making_of())
    assert "| top 3 accuracy | 0.5000 | 0.2500 to 0.7500 |" in page
    for name, one in contract["metrics"].items():
        if name != "holdout_size":
            assert f"| {name.replace('_', ' ')} | {one['value']:.4f} | {one['low']:.4f} to {one['high']:.4f} |" in page
    assert f"On {contract['metrics']['holdout_size']} examples of the holdout" in page
    for one in contract["per_class"]:
        assert f"| {one['label']} | {one['support']} | {one['precision']['value']:.3f} (" in page


def test_it_says_what_the_states_mean_what_it_was_made_of_and_how():
    page = model_card(contract_of(), making_of())
    for told in ("confidence of 0.812 or more", "novelty above 6.5", "train 70, tune 10, holdout 20", "labels: 3 ("):
        assert told in page
    for told in ("a" * 64, "table `s3://flowers/all.csv`", "seed 7", "plan epochs 33", "fit seconds 201.5", "small 1"):
        assert told in page
    assert "not made up" in page
    assert "made-up data" in model_card(contract_of(made_up=True), making_of())
    assert "a picture squeezed to a square, as 96 x 96 points" in model_card(contract_of(kind="image"), making_of())
    features = view_features(square_view(64, 7 / 8))
    page = model_card(contract_of(kind="image", features=features), making_of())
    assert "the middle 87.5% of the largest square in the middle of a picture, as 64 x 64 points" in page


def test_the_stated_error_is_told_and_that_nothing_is_sure():
    page = model_card(contract_of(thresholds={"sure": 0.9, "error": 0.035, "novelty": 6.5}), making_of())
    assert "confidence of 0.900 or more, of which at most 3.5% are wrong (with 95 % probability)" in page
    page = model_card(contract_of(thresholds={"sure": 1.0, "error": 0.2, "novelty": 6.5}), making_of())
    assert "`sure`: no answer is" in page
    assert "20.0%" not in page


def test_thresholds_that_it_does_not_know_are_shown_all_the_same():
    contract = contract_of(thresholds={"sure": 0.9, "other_rate": 0.05, "more": {"nested": 1}})
    page = model_card(contract, making_of())
    assert "other rate 0.05" in page
    assert "`unknown`: novelty" not in page


def test_few_examples_of_a_label_are_among_the_limits():
    page = model_card(contract_of(), making_of(labels={"small": 500, "middle": 29, "large": 30}))
    assert "Under 30 examples: middle." in page


@pytest.mark.parametrize("count", [100, 1000])
def test_a_hundred_labels_with_long_names_fit_and_the_worst_are_shown(count):
    names = tuple(f"a rather long name of a label | number {number}" for number in range(count))
    contract, making = contract_of(names), making_of(names)
    page = model_card(contract, making)
    judged = with_verdict(page, "12", Verdict("kept", "not better: " + "because " * 500, 0.5))
    assert len(judged) <= LIMIT
    assert "**kept**: not better" in judged
    assert judged.rstrip().endswith("of no label.")
    worst = min(contract["per_class"], key=lambda one: one["recall"]["value"])["label"].replace("|", "\\|")
    assert f"| {worst} |" in page or count > 100
    assert f"of {count} labels" in page
    whole = model_card(contract, making, limit=None)
    assert all(f"number {number} |" in whole for number in range(count))


def test_the_gate_writes_its_result_and_leaves_what_a_person_wrote():
    page = model_card(contract_of(), making_of()).replace("## Limits", "## Note\n\nLook at dog 7.\n\n## Limits")
    assert "Not judged yet." in page
    once = with_verdict(page, "4", Verdict("kept", "not better: 0.7 against 0.8", 0.7))
    assert "**kept**: not better: 0.7 against 0.8\n\n## Load it" in once
    assert "Not judged yet." not in once
    assert "Look at dog 7." in once
    assert 'load_model("models:/flowers/4")' in once
    again = with_verdict(once, "4", Verdict("promoted", "better", 0.9))
    assert "**promoted**: better" in again
    assert "kept" not in again
    assert with_verdict("a page of one's own", "4", Verdict("kept", "x", 0.1)) == "a page of one's own"


def test_a_page_without_a_limit_has_the_whole_reason():
    reason = "not better: " + "because " * 500
    page = with_verdict(model_card(contract_of(), making_of(), limit=None), "12", Verdict("kept", reason, 0.5), None)
    assert f"**kept**: {reason}\n\n## Load it" in page
    assert page.rstrip().endswith("of no label.")


@pytest.mark.parametrize("kind", ["tabular", "image"])
def test_loading_takes_at_most_eight_lines_of_plain_mlflow(kind):
    page = with_verdict(model_card(contract_of(kind=kind), making_of()), "3", Verdict("kept", "x", 0.1))
    code = re.search(r"```python\n(.*?)\n```", page, re.DOTALL)[1]
    assert len(code.splitlines()) <= 8
    compile(code, "page", "exec")
    assert "http://mlflow:5000" in code
    assert "sabueso" not in code.lower()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://user:secret@example.org:8443/rows.csv?token=secret#secret", "`https://example.org:8443/rows.csv`"),
        ("s3://bucket/cats", "`s3://bucket/cats`"),
        ("/data/cats", "`/data/cats`"),
    ],
)
def test_a_source_is_told_without_its_password(location, told):
    words = source_in_words({"type": "table", "location": location})
    assert told in words
    assert "secret" not in words
    assert source_in_words(None) == "unknown"


def test_the_model_says_what_its_alias_means(make_settings):
    about = about_model(read_pipelines(make_settings("flowers").pipelines)["flowers"])
    assert "4 columns into 3 labels (small, middle, large)" in about
    assert "`champion`" in about
    assert "macro_f1 of at least 0.5" in about
