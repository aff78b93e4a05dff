"""Other people's readers find in our shards what was written."""

import numpy as np
import pytest
from PIL import Image

from alexnet import images
from tests.tiny_data import NUM_TRAIN, colour_samples


@pytest.fixture
def urls(tiny):
    store, manifest = tiny
    return [f"{store.url}/{shard.name}" for shard in manifest.split("train")]


@pytest.mark.slow
def test_ray_data_reads_every_sample(urls, connected):
    import ray

    rows = ray.data.read_webdataset(urls, decoder=None).take_all()
    read = sorted((row["__key__"], row["jpg"], int(row["cls"])) for row in rows)
    written = [(s.key, s.jpeg, s.label) for s in colour_samples("train", NUM_TRAIN)]
    assert read == written


def test_timm_reads_every_sample(tiny, urls):
    readers = pytest.importorskip("timm.data.readers.reader_wds", reason="pip install -e '.[dev]'")
    store, _ = tiny
    split = f"train-{{000000..{len(urls) - 1:06d}}}.tar|{NUM_TRAIN}"
    read = list(readers.ReaderWds(store.url, split=split))
    written = list(colour_samples("train", NUM_TRAIN))
    assert [label for _, label in read] == [sample.label for sample in written]
    for (image, _), sample in zip(read, written, strict=True):
        assert isinstance(image, Image.Image)
        # The decoders differ in rounding alone.
        ours = images.decode(sample.jpeg).astype(int)
        assert np.abs(np.asarray(image).astype(int) - ours).max() <= 4
