"""What MLflow gets to see of a holdout: figures that can be read, and pictures of the holdout alone."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from flowers import draw, encode
from train.judge.evaluation import log_evaluation, worst_mistakes
from train.report.plots import confidence_figure, confusion_figure, contact_sheet, per_class_figure, reliability_figure
from train.snapshot import Examples

NAMES = ("cat", "dog")


class Recorded:
    """A tracking that keeps what it is told."""

    def __init__(self):
        self.figures, self.tables = {}, {}

    def figure(self, figure, name):
        self.figures[name] = figure

    def table(self, rows, name):
        self.tables[name] = rows


def pets(count=60, wrong=(3, 9)):
    """Examples of all parts in turn, and probabilities for those of the holdout: wrong at two of them."""
    labels = np.arange(count) % 2
    files = [encode(draw(NAMES[label], number)) for number, label in enumerate(labels)]
    parts = np.arange(count) % 3
    examples = Examples(files, labels, parts, [f"hash {n}" for n in range(count)], [], [], 0, True)
    true = labels[parts == 2]
    sure = np.linspace(0.6, 0.95, len(true))
    probabilities = np.stack([1 - sure, sure], axis=1)
    right = np.where((true == 1)[:, None], probabilities, probabilities[:, ::-1])
    right[list(wrong)] = right[list(wrong)][:, ::-1]
    return examples, right


def logged(kind, wrong=(3, 9)):
    examples, probabilities = pets(wrong=wrong)
    contract = {
        "kind": kind,
        "labels": [{"value": name} for name in NAMES],
        "thresholds": {"sure": 0.7, "novelty": 2.0},
    }
    tracking = Recorded()
    novelty = np.where(np.arange(len(probabilities)) == 0, 2.1, 1.0)
    found = log_evaluation(contract, examples, (probabilities, novelty), tracking, lambda call: call())
    return found, contract, tracking


def test_metrics_go_into_the_contract_and_every_figure_to_mlflow():
    found, contract, tracking = logged("image")
    assert found["accuracy"] == contract["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert found["unknown_share"] == pytest.approx(1 / 20)
    assert found["sure_share"] == pytest.approx(14 / 20)
    assert found["sure_error"] == pytest.approx(1 / 14, abs=1e-6)
    assert "holdout_size" not in found
    assert set(tracking.figures) == {"confusion_matrix", "reliability", "per_class", "confidence", "worst_mistakes"}
    assert tracking.tables["per_class.json"] == contract["per_class"]
    assert len(tracking.tables["worst_mistakes.json"]) == 2


@pytest.mark.parametrize(("kind", "wrong"), [("tabular", (3, 9)), ("image", ())])
def test_there_is_a_sheet_of_mistakes_only_for_pictures_that_were_mistaken(kind, wrong):
    assert "worst_mistakes" not in logged(kind, wrong)[2].figures


def test_the_surest_mistake_comes_first_and_all_are_of_the_holdout():
    examples, probabilities = pets()
    found = worst_mistakes(examples, probabilities, NAMES)
    holdout = [name for name, part in zip(examples.hashes, examples.parts, strict=True) if part == 2]
    assert [one["example"] for one in found] == [holdout[9], holdout[3]]
    assert all(one["label"] != one["answer"] for one in found)
    assert found[0]["confidence"] > found[1]["confidence"]


def test_the_sheet_shows_the_mistaken_pictures_in_their_order():
    *_, tracking = logged("image")
    examples, probabilities = pets()
    worst = worst_mistakes(examples, probabilities, NAMES)
    shown = [axes for axes in tracking.figures["worst_mistakes"].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        f"{one['label']} → {one['answer']}\n{one['confidence']:.0%} sure" for one in worst
    ]
    for axes, one in zip(shown, worst, strict=True):
        body = examples.inputs[examples.hashes.index(one["example"])]
        wanted = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).mean(axis=(0, 1))
        assert np.asarray(axes.images[0].get_array()).mean(axis=(0, 1)) == pytest.approx(wanted, abs=4)


def test_bars_stand_at_precision_and_recall_with_their_intervals():
    bound = SimpleNamespace
    per_class = [
        {"label": "cat", "support": 5, "precision": _one(0.5, 0.25, 0.625), "recall": _one(1, 1, 1)},
        {"label": "dog", "support": 7, "precision": _one(0.75, 0.5, 1), "recall": _one(0.25, 0, 0.5)},
    ]
    axes = per_class_figure(per_class).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.75, 1, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (5)", "dog (7)"]
    ends = bound(low=axes.collections[0].get_segments()[0][0][0], high=axes.collections[0].get_segments()[0][1][0])
    assert (ends.low, ends.high) == (0.25, 0.625)


def _one(value, low, high):
    return {"value": value, "low": low, "high": high}


RANGE = _one(0.5, 0.25, 0.75)


@pytest.mark.parametrize("count", [2, 7, 100])
def test_figures_of_few_and_many_labels_can_be_drawn_and_stay_below_eight_megapixels(count):
    names = tuple(f"a label with a long name {number}" for number in range(count))
    labels = np.arange(3 * count) % count
    probabilities = np.full((3 * count, count), 0.1 / count) + 0.9 * np.eye(count)[labels]
    figures = [
        confusion_figure(probabilities, labels, names),
        reliability_figure(probabilities, labels),
        per_class_figure([{"label": one, "support": 3, "precision": RANGE, "recall": RANGE} for one in names]),
        confidence_figure(probabilities, labels, 0.8),
        contact_sheet(np.zeros((7, 8, 8, 3), np.uint8), ["cat → dog"] * 7),
    ]
    for figure in figures:
        file = io.BytesIO()
        figure.savefig(file, format="png")
        width, height = Image.open(file).size
        assert width * height < 8e6
