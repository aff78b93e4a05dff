"""The embedded data set is complete, in order and the same everywhere."""

from collections import Counter

import numpy as np
import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import embedded_digits, manifest


def test_it_has_1797_digits_in_two_splits_and_all_classes(tmp_path):
    store = open_store(str(tmp_path))
    made = embedded_digits.write(store)
    assert (made.num_samples("train"), made.num_samples("val")) == (1437, 360)
    for split in ("train", "val"):
        labels = Counter()
        for shard in made.split(split):
            labels.update(manifest.read_index(store, shard).samples["label"].tolist())
        assert set(labels) == set(range(10))
    assert made.classes == tuple("0123456789")


@pytest.mark.slow
def test_its_digits_are_those_that_scikit_learn_loads():
    from sklearn.datasets import load_digits

    for found, expected in zip(
        embedded_digits.scanned(), load_digits(return_X_y=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
