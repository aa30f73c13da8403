"""The head of a pretrained network is a linear discriminant, and cross-validation estimates its true accuracy."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from train.statistics.calibration import softmax
from train.statistics.discriminant import FOLDS, cross_validate, discriminant, label_statistics, moments
from train.statistics.metrics import log_loss

LABELS, WIDTH = 3, 12


def draw(count, seed=0, shares=(0.6, 0.3, 0.1), apart=1.5):
    """Embeddings (1, count, 12) of three labels with different means and one shared covariance."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(LABELS, count, p=shares)
    common = np.random.default_rng(1)
    means, mixing = apart * common.normal(size=(LABELS, WIDTH)), common.normal(size=(WIDTH, WIDTH))
    return (means[labels] + generator.normal(size=(count, WIDTH)) @ mixing)[None], labels


def test_without_shrinkage_probabilities_equal_those_of_scikit_learn():
    embeddings, labels = draw(2000)
    statistics = label_statistics(moments(embeddings, labels, LABELS))
    kernel, bias = discriminant(statistics, 0.0).head(1.0)
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(embeddings[0], labels)
    assert softmax(embeddings[0] @ kernel + bias) == pytest.approx(reference.predict_proba(embeddings[0]), abs=1e-6)


def test_subtracting_the_moments_of_a_subset_gives_those_of_the_rest():
    embeddings, labels = draw(900)
    subset, rest = np.arange(300), np.arange(300, 900)
    difference = moments(embeddings, labels, LABELS) - moments(embeddings, labels, LABELS, subset)
    expected = moments(embeddings, labels, LABELS, rest)
    assert difference.counts.tolist() == expected.counts.tolist()
    assert difference.sums == pytest.approx(expected.sums)
    assert difference.outer == pytest.approx(expected.outer)


def test_a_second_view_counts_like_further_examples():
    embeddings, labels = draw(300)
    two_views = moments(np.concatenate([embeddings, 2 * embeddings]), labels, LABELS)
    twice_as_many = moments(np.concatenate([embeddings, 2 * embeddings], axis=1), np.tile(labels, 2), LABELS)
    assert two_views.counts.tolist() == twice_as_many.counts.tolist()
    assert two_views.outer == pytest.approx(twice_as_many.outer)


def test_cross_validation_predicts_accuracy_and_log_loss_on_unseen_examples():
    embeddings, labels = draw(400, seed=2)
    whole = moments(embeddings, labels, LABELS)
    validation = cross_validate(embeddings, labels, whole, seed=7)
    kernel, bias = discriminant(label_statistics(whole), validation.shrinkage).head(validation.temperature)
    unseen, unseen_labels = draw(20_000, seed=3)
    logits = unseen[0] @ kernel + bias
    estimate = (validation.logits.argmax(axis=1) == labels).mean()
    assert estimate == pytest.approx((logits.argmax(axis=1) == unseen_labels).mean(), abs=0.04)
    assert log_loss(softmax(validation.logits), labels).mean() == pytest.approx(
        log_loss(softmax(logits), unseen_labels).mean(), rel=0.25
    )


def test_cross_validation_reports_chance_for_random_labels():
    """With more dimensions than examples, a head would score perfectly on the examples it was fitted to."""
    generator = np.random.default_rng(4)
    embeddings, labels = generator.normal(size=(1, 300, 600)), np.arange(300) % 2
    validation = cross_validate(embeddings, labels, moments(embeddings, labels, 2), seed=7)
    assert (validation.logits.argmax(axis=1) == labels).mean() < 0.6
    assert softmax(validation.logits).max() < 0.8


def test_folds_are_stratified_by_label():
    embeddings, labels = draw(1000)
    validation = cross_validate(embeddings, labels, moments(embeddings, labels, LABELS), seed=7)
    for label in range(LABELS):
        counts = np.bincount(validation.folds[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_a_label_without_examples_is_never_predicted_and_one_with_a_single_example_does_no_harm():
    embeddings, labels = draw(200, shares=(0.5, 0.5, 0.0))
    labels[0] = 3
    whole = moments(embeddings, labels, 5)
    validation = cross_validate(embeddings, labels, whole, seed=7)
    kernel, bias = discriminant(label_statistics(whole), validation.shrinkage).head(validation.temperature)
    probabilities = softmax(embeddings[0] @ kernel + bias)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, [2, 4]].max() < 1e-6
    known = labels < 2
    assert (probabilities.argmax(axis=1) == labels)[known].mean() > 0.8


def test_rare_labels_keep_their_frequency_among_the_predictions():
    embeddings, labels = draw(3000, seed=5, shares=(0.95, 0.04, 0.01), apart=0.3)
    validation = cross_validate(embeddings, labels, moments(embeddings, labels, LABELS), seed=7)
    assert softmax(validation.logits).mean(axis=0) == pytest.approx(np.bincount(labels) / len(labels), abs=0.02)
