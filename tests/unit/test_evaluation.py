"""MLflow receives readable figures and tables of the holdout, and pictures from the holdout only."""

import io

import numpy as np
import pytest
from PIL import Image

from common.inference.contract import Interval, LabelMetrics, Thresholds
from common.pipeline_files import read_pipelines
from flowers import draw, encode
from train.retry import RetryPolicy
from train.snapshot import Examples, Split
from train.tracking.evaluation import evaluate_holdout, worst_mistakes
from train.tracking.plots import (
    confidence_figure,
    confusion_figure,
    contact_sheet,
    per_class_figure,
    reliability_figure,
)

NAMES = ("cat", "dog")


class FakeRun:
    """A tracked run that keeps what is logged."""

    def __init__(self):
        self.figures, self.tables = {}, {}

    def log_figure(self, figure, name):
        self.figures[name] = figure

    def log_table(self, rows, name):
        self.tables[name] = rows


def pets(count=60, wrong=(3, 9)):
    """Examples of all splits in turn, and probabilities for the holdout that are wrong at the given indices."""
    labels = np.arange(count) % 2
    files = [encode(draw(NAMES[label], number)) for number, label in enumerate(labels)]
    splits = np.arange(count) % 3
    hashes = [f"hash {number}" for number in range(count)]
    examples = Examples(files, labels, splits, hashes, origins=[], sample_keys=[], conflicting=0, made_up=True)
    true_labels = labels[splits == Split.HOLDOUT]
    confidence = np.linspace(0.6, 0.95, len(true_labels))
    dogs = np.stack([1 - confidence, confidence], axis=1)
    probabilities = np.where((true_labels == 1)[:, None], dogs, dogs[:, ::-1])
    probabilities[list(wrong)] = probabilities[list(wrong)][:, ::-1]
    return examples, probabilities


@pytest.fixture
def pipelines(make_settings):
    """`pets` by kind: the pipeline as it is, and with its kind changed to tabular."""
    pipeline = read_pipelines(make_settings("pets").pipelines)["pets"]
    return {"image": pipeline, "tabular": pipeline.model_copy(update={"kind": "tabular"})}


def evaluated(pipeline, wrong=(3, 9)):
    """The metrics of all labels and of each, and the run that they were logged to."""
    examples, probabilities = pets(wrong=wrong)
    assert pipeline.label_values == NAMES
    run, retry = FakeRun(), RetryPolicy(0, lambda reason: None)
    novelty = np.where(np.arange(len(probabilities)) == 0, 2.1, 1.0)
    thresholds = Thresholds(sure=0.7, novelty=2.0)
    metrics, per_class = evaluate_holdout(pipeline, examples, (probabilities, novelty), thresholds, run, retry)
    return metrics, per_class, run


def test_metrics_are_returned_and_every_figure_is_logged(pipelines):
    metrics, per_class, run = evaluated(pipelines["image"])
    assert metrics.accuracy.value == pytest.approx(0.9)
    assert metrics.unknown_share.value == pytest.approx(1 / 20)
    assert metrics.sure_share.value == pytest.approx(14 / 20)
    assert metrics.sure_error.value == pytest.approx(1 / 14, abs=1e-6)
    assert "holdout_size" not in metrics.intervals()
    assert set(run.figures) == {"confusion_matrix", "reliability", "per_class", "confidence", "worst_mistakes"}
    assert run.tables["per_class.json"] == [metrics.model_dump() for metrics in per_class]
    assert len(run.tables["worst_mistakes.json"]) == 2


@pytest.mark.parametrize(("kind", "wrong"), [("tabular", (3, 9)), ("image", ())])
def test_a_sheet_of_mistakes_is_logged_only_for_misclassified_pictures(pipelines, kind, wrong):
    assert "worst_mistakes" not in evaluated(pipelines[kind], wrong)[2].figures


def test_mistakes_are_from_the_holdout_and_sorted_by_confidence():
    examples, probabilities = pets()
    mistakes = worst_mistakes(examples, probabilities, NAMES)
    holdout = [name for name, split in zip(examples.hashes, examples.splits, strict=True) if split == Split.HOLDOUT]
    assert [mistake.example for mistake in mistakes] == [holdout[9], holdout[3]]
    assert all(mistake.label != mistake.answer for mistake in mistakes)
    assert mistakes[0].confidence > mistakes[1].confidence


def test_the_sheet_shows_the_misclassified_pictures_in_order(pipelines):
    *_, run = evaluated(pipelines["image"])
    examples, probabilities = pets()
    mistakes = worst_mistakes(examples, probabilities, NAMES)
    shown = [axes for axes in run.figures["worst_mistakes"].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        f"{mistake.label} → {mistake.answer}\n{mistake.confidence:.0%} sure" for mistake in mistakes
    ]
    for axes, mistake in zip(shown, mistakes, strict=True):
        body = examples.inputs[examples.hashes.index(mistake.example)]
        expected = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).mean(axis=(0, 1))
        assert np.asarray(axes.images[0].get_array()).mean(axis=(0, 1)) == pytest.approx(expected, abs=4)


def test_bars_show_precision_and_recall_with_their_intervals():
    per_class = [
        LabelMetrics(label="cat", support=5, precision=interval(0.5, 0.25, 0.625), recall=interval(1, 1, 1)),
        LabelMetrics(label="dog", support=7, precision=interval(0.75, 0.5, 1), recall=interval(0.25, 0, 0.5)),
    ]
    axes = per_class_figure(per_class).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.75, 1, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (5)", "dog (7)"]
    error_bar = axes.collections[0].get_segments()[0]
    assert (error_bar[0][0], error_bar[1][0]) == (0.25, 0.625)


def interval(value, low, high):
    return Interval(value=value, low=low, high=high)


ANY = interval(0.5, 0.25, 0.75)


@pytest.mark.parametrize("count", [2, 7, 100])
def test_figures_of_few_and_many_labels_can_be_drawn_below_eight_megapixels(count):
    names = tuple(f"a label with a long name {number}" for number in range(count))
    labels = np.arange(3 * count) % count
    probabilities = np.full((3 * count, count), 0.1 / count) + 0.9 * np.eye(count)[labels]
    figures = [
        confusion_figure(probabilities, labels, names),
        reliability_figure(probabilities, labels),
        per_class_figure([LabelMetrics(label=name, support=3, precision=ANY, recall=ANY) for name in names]),
        confidence_figure(probabilities, labels, 0.8),
        contact_sheet(np.zeros((7, 8, 8, 3), np.uint8), ["cat → dog"] * 7),
    ]
    for figure in figures:
        file = io.BytesIO()
        figure.savefig(file, format="png")
        width, height = Image.open(file).size
        assert width * height < 8e6
