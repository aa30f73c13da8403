"""The text of many answers is what Python's own formatting makes of each."""

import numpy as np

from classify.parts import csv_parts

CONTRACT = {
    "labels": [{"value": value, "en": value, "es": value} for value in ("a", 'b "or" c', "100%")],
    "thresholds": {"sure": 0.8, "novelty": 3.0},
}


def test_each_number_of_a_csv_is_told_to_six_places():
    shares = np.random.default_rng(2).dirichlet([0.3] * 3, 500).astype(np.float32)
    shares[:5, 0] = [1.00001, 1.0, 0.0, 0.9999996, 2.0**-7]
    novelty = np.full(len(shares), 1.0, np.float32)
    parts = csv_parts("x", "7", iter([(shares[:300], novelty[:300]), (shares[300:], novelty[300:])]), CONTRACT)
    head, *lines = b"".join(parts).decode().removesuffix("\r\n").split("\r\n")
    assert head == 'label,status,confidence,probability_a,"probability_b ""or"" c",probability_100%,version'
    told = [(row.argmax(), min(row.max(), 1), *np.minimum(row, 1)) for row in shares.astype(np.float64)]
    names = ("a", '"b ""or"" c"', "100%")
    wanted = [
        f"{names[place]},{'sure' if best >= 0.8 else 'uncertain'},{best:.6f},{','.join(f'{one:.6f}' for one in row)},7"
        for place, best, *row in told
    ]
    assert lines == wanted
