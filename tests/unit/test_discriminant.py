"""The head of a pretrained network: fitted in one step, chosen by cross-validation, honest about what it has seen."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from train.bundle.calibration import softmax
from train.fit.discriminant import FOLDS, cross_validate, discriminant, moments, spread_of
from train.judge.metrics import log_loss

LABELS, WIDTH = 3, 12


def draw(count, seed=0, shares=(0.6, 0.3, 0.1), apart=1.5):
    """Embeddings (1, count, 12) of three labels around means of their own, with one covariance for all."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(LABELS, count, p=shares)
    common = np.random.default_rng(1)
    means, mixing = apart * common.normal(size=(LABELS, WIDTH)), common.normal(size=(WIDTH, WIDTH))
    return (means[labels] + generator.normal(size=(count, WIDTH)) @ mixing)[None], labels


def test_without_shrinkage_it_is_the_linear_discriminant_of_scikit_learn():
    embeddings, labels = draw(2000)
    spread = spread_of(moments(embeddings, labels, LABELS))
    kernel, bias = discriminant(spread, 0.0).head(1.0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(embeddings[0], labels)
    assert softmax(embeddings[0] @ kernel + bias) == pytest.approx(theirs.predict_proba(embeddings[0]), abs=1e-6)


def test_sums_of_all_less_those_of_a_part_are_those_of_the_rest():
    embeddings, labels = draw(900)
    part, rest = np.arange(300), np.arange(300, 900)
    left = moments(embeddings, labels, LABELS) - moments(embeddings, labels, LABELS, part)
    wanted = moments(embeddings, labels, LABELS, rest)
    assert left.counts.tolist() == wanted.counts.tolist()
    assert left.sums == pytest.approx(wanted.sums)
    assert left.outer == pytest.approx(wanted.outer)


def test_several_views_count_as_further_examples():
    embeddings, labels = draw(300)
    both = moments(np.concatenate([embeddings, 2 * embeddings]), labels, LABELS)
    beside = moments(np.concatenate([embeddings, 2 * embeddings], axis=1), np.tile(labels, 2), LABELS)
    assert both.counts.tolist() == beside.counts.tolist()
    assert both.outer == pytest.approx(beside.outer)


def test_what_cross_validation_says_is_what_others_are_answered_like():
    embeddings, labels = draw(400, seed=2)
    whole = moments(embeddings, labels, LABELS)
    found = cross_validate(embeddings, labels, whole, seed=7)
    kernel, bias = discriminant(spread_of(whole), found.shrinkage).head(found.temperature)
    others, wanted = draw(20_000, seed=3)
    logits = others[0] @ kernel + bias
    said = (found.logits.argmax(axis=1) == labels).mean()
    assert said == pytest.approx((logits.argmax(axis=1) == wanted).mean(), abs=0.04)
    assert log_loss(softmax(found.logits), labels).mean() == pytest.approx(
        log_loss(softmax(logits), wanted).mean(), rel=0.25
    )


def test_labels_that_mean_nothing_are_not_learnt_by_heart():
    """Of more directions than examples: whoever scores what it has seen would be right each time."""
    generator = np.random.default_rng(4)
    embeddings, labels = generator.normal(size=(1, 300, 600)), np.arange(300) % 2
    found = cross_validate(embeddings, labels, moments(embeddings, labels, 2), seed=7)
    assert (found.logits.argmax(axis=1) == labels).mean() < 0.6
    assert softmax(found.logits).max() < 0.8


def test_each_fold_has_its_share_of_every_label():
    embeddings, labels = draw(1000)
    found = cross_validate(embeddings, labels, moments(embeddings, labels, LABELS), seed=7)
    for label in range(LABELS):
        counts = np.bincount(found.folds[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_a_label_without_examples_is_never_answered_and_one_with_a_single_one_harms_nobody():
    embeddings, labels = draw(200, shares=(0.5, 0.5, 0.0))
    labels[0] = 3
    whole = moments(embeddings, labels, 5)
    found = cross_validate(embeddings, labels, whole, seed=7)
    kernel, bias = discriminant(spread_of(whole), found.shrinkage).head(found.temperature)
    probabilities = softmax(embeddings[0] @ kernel + bias)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, [2, 4]].max() < 1e-6
    known = labels < 2
    assert (probabilities.argmax(axis=1) == labels)[known].mean() > 0.8


def test_rare_labels_are_as_rare_among_the_answers():
    embeddings, labels = draw(3000, seed=5, shares=(0.95, 0.04, 0.01), apart=0.3)
    found = cross_validate(embeddings, labels, moments(embeddings, labels, LABELS), seed=7)
    assert softmax(found.logits).mean(axis=0) == pytest.approx(np.bincount(labels) / len(labels), abs=0.02)
