"""The embedded data set is complete, in order and the same everywhere."""

from collections import Counter

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
