"""The fast CSV formatting gives the same text as Python's own."""

import numpy as np

from classify.serialization import csv_chunks
from common.inference.contract import Label, Thresholds
from contracts import make_contract

VALUES = ("a", 'b "or" c', "100%")
CONTRACT = make_contract(
    labels=[Label(value=value, en=value, es=value) for value in VALUES],
    thresholds=Thresholds(sure=0.8, novelty=3.0),
)


def test_numbers_in_a_csv_have_six_decimals():
    shares = np.random.default_rng(2).dirichlet([0.3] * 3, 500).astype(np.float32)
    shares[:5, 0] = [1.00001, 1.0, 0.0, 0.9999996, 2.0**-7]
    novelty = np.full(len(shares), 1.0, np.float32)
    chunks = csv_chunks("x", "7", iter([(shares[:300], novelty[:300]), (shares[300:], novelty[300:])]), CONTRACT)
    head, *lines = b"".join(chunks).decode().removesuffix("\r\n").split("\r\n")
    assert head == 'label,status,confidence,probability_a,"probability_b ""or"" c",probability_100%,version'
    rows = [(row.argmax(), min(row.max(), 1), *np.minimum(row, 1)) for row in shares.astype(np.float64)]
    names = ("a", '"b ""or"" c"', "100%")
    expected = [
        f"{names[place]},{'sure' if best >= 0.8 else 'uncertain'},{best:.6f},{','.join(f'{one:.6f}' for one in row)},7"
        for place, best, *row in rows
    ]
    assert lines == expected
