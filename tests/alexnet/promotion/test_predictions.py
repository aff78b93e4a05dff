"""What is kept of a prediction is what evaluation counts, and comes back to the bit."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from alexnet.errors import DataError
from alexnet.promotion import predictions
from alexnet.promotion.predictions import ARRAYS, Predictions
from alexnet.training.evaluation import Counts


def predicted(logits, labels):
    about = {"manifest_digest": "m", "weights_sha256": "w"}
    return Predictions(**about, **predictions.rows(logits, labels))


@pytest.fixture
def some():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 7, generator=generator).mul(3)
    logits[::50] = 0  # ties
    logits[1] = float("nan")
    return logits, torch.randint(7, (500,), generator=generator)


def test_the_counts_are_those_of_evaluation(some):
    found, counts = predicted(*some), Counts.of(*some)
    assert found.right.sum() == counts.top1
    assert (found.rank < 5).sum() == counts.top5
    finite = np.delete(np.arange(500), 1)
    logits, labels = some
    assert found.loss[finite].sum() == pytest.approx(
        Counts.of(logits[finite], labels[finite]).loss_sum, rel=1e-6
    )


def test_what_was_written_is_read(some, tmp_path):
    found = predicted(*some)
    predictions.write(tmp_path / "p.safetensors", found)
    again = predictions.read(tmp_path / "p.safetensors")
    assert (again.manifest_digest, again.weights_sha256) == ("m", "w")
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(found, name), equal_nan=True)


def test_a_file_that_is_damaged_is_refused(some, tmp_path):
    path = tmp_path / "p.safetensors"
    predictions.write(path, predicted(*some))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"p\.safetensors: damaged: .* Evaluate the version again"):
        predictions.read(path)
    with pytest.raises(DataError, match="none.safetensors: damaged"):
        predictions.read(tmp_path / "none.safetensors")


def test_a_file_of_another_release_or_of_uneven_arrays_is_refused(some, tmp_path):
    path, arrays = tmp_path / "p.safetensors", predictions.rows(*some)
    save_file(arrays, path)
    with pytest.raises(DataError, match="schema null; this code reads 1"):
        predictions.read(path)
    about = {"schema": "1", "manifest_digest": "m", "weights_sha256": "w"}
    save_file(arrays | {"rank": arrays["rank"][:-1]}, path, metadata=about)
    with pytest.raises(DataError, match="arrays of different lengths"):
        predictions.read(path)


def test_who_is_as_sure_as_right_is_calibrated_and_who_is_always_sure_is_off_by_its_errors():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, 100_000).astype(np.float32)
    right = rng.uniform(size=100_000) < confidence
    base = Predictions(
        manifest_digest="m",
        weights_sha256="w",
        label=np.zeros(100_000, np.int64),
        predicted=np.zeros(100_000, np.int64),
        confidence=confidence,
        rank=1 - right.astype(np.int64),
        loss=np.zeros(100_000, np.float32),
    )
    assert base.calibration_error < 0.01
    sure = dataclasses.replace(base, confidence=np.ones(100_000, np.float32))
    assert sure.calibration_error == pytest.approx(1 - right.mean(), abs=1e-6)
