"""The export keeps as few members as are nearly as good as all."""

import numpy as np

from train.fit.member_selection import fewest_members

CLASSES = 3


def logits_of(labels, skills, seed=0):
    """Logits (n, members, classes): noise, to which a member of skill s adds s at the true label."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), len(skills), CLASSES))
    return noise + np.eye(CLASSES)[labels][:, None] * np.array(skills)[None, :, None]


def test_of_identical_members_one_is_kept():
    labels = np.arange(600) % CLASSES
    logits = logits_of(labels, [2.0])
    assert len(fewest_members(np.repeat(logits, 6, axis=1), labels)) == 1


def test_a_member_that_is_better_than_the_mean_is_kept_alone():
    labels = np.arange(600) % CLASSES
    assert fewest_members(logits_of(labels, [0.0, 6.0, 0.0]), labels) == [1]


def test_enough_members_are_kept_to_be_nearly_as_good_as_all():
    labels = np.arange(900) % CLASSES
    logits = logits_of(labels, [1.5] * 8)
    chosen = fewest_members(logits, labels)
    assert 3 <= len(chosen) <= 8

    def loss(members):
        powers = np.exp(logits[:, members])
        probabilities = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    assert loss(chosen) <= 1.01 * loss(list(range(8)))
    assert loss(chosen[:1]) > 1.01 * loss(list(range(8)))


def test_with_a_small_tune_split_all_members_are_kept():
    labels = np.arange(499) % CLASSES
    assert fewest_members(logits_of(labels, [6.0, 0.0, 0.0]), labels) == [0, 1, 2]
