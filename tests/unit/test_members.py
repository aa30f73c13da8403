"""As few members answer as answer hardly worse than all."""

import numpy as np

from train.fit.members import fewest_members

CLASSES = 3


def logits_of(labels, skills, seed=0):
    """Logits (n, members, classes): a member of skill s gives the label s more than noise."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), len(skills), CLASSES))
    return noise + np.eye(CLASSES)[labels][:, None] * np.array(skills)[None, :, None]


def test_of_members_that_are_all_alike_one_answers():
    labels = np.arange(600) % CLASSES
    one = logits_of(labels, [2.0])
    assert len(fewest_members(np.repeat(one, 6, axis=1), labels)) == 1


def test_a_member_that_is_best_alone_answers_alone():
    labels = np.arange(600) % CLASSES
    assert fewest_members(logits_of(labels, [0.0, 6.0, 0.0]), labels) == [1]


def test_as_many_answer_as_it_takes_to_be_nearly_as_good_as_all():
    labels = np.arange(900) % CLASSES
    logits = logits_of(labels, [1.5] * 8)
    chosen = fewest_members(logits, labels)
    assert 3 <= len(chosen) <= 8

    def loss(members):
        powers = np.exp(logits[:, members])
        shares = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)
        return -np.log(shares[np.arange(len(labels)), labels]).mean()

    assert loss(chosen) <= 1.01 * loss(list(range(8)))
    assert loss(chosen[:1]) > 1.01 * loss(list(range(8)))


def test_a_small_tune_part_lets_all_members_answer():
    labels = np.arange(499) % CLASSES
    assert fewest_members(logits_of(labels, [6.0, 0.0, 0.0]), labels) == [0, 1, 2]
