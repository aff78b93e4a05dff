"""A training can begin with another's weights, which are then a part of what it is."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from alexnet import model
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.errors import CheckpointError, ConfigError, DataError
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.training import warm_start
from alexnet.training.loop import Trainer
from tests.local_worker import LocalWorker
from tests.tiny_data import tiny_run


@pytest.fixture
def weights(tiny_config, tmp_path):
    """Weights that no seed draws."""
    network = model.build(tiny_config.model, tiny_config.data.image_px)
    model.initialize_(network, 77)
    path = tmp_path / "weights"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trainer(tiny, tiny_url, folder, parent):
    store, manifest = tiny
    config = tiny_run(tiny_url, parent=parent)
    return Trainer(config, manifest, store, LocalWorker(), Checkpoints(folder, 3))


def test_it_begins_with_the_parents_weights_and_goes_on_from_its_own(
    tiny, tiny_url, tmp_path, weights
):
    folder = open_store(str(tmp_path / "run"))
    warm_start.put(folder, weights)
    first = trainer(tiny, tiny_url, folder, digest(weights))
    assert first.resume() is None
    parent = warm_start.read(folder, digest(weights))
    state = first.network.state_dict()
    assert all(torch.equal(state[key], parent[key]) for key in parent)
    first.run()
    again = trainer(tiny, tiny_url, folder, digest(weights))
    assert again.resume() is not None
    assert again.step == first.step
    trained = again.network.state_dict()
    assert not torch.equal(trained["fc8.bias"], parent["fc8.bias"])


def test_other_weights_than_those_that_were_meant_are_refused(tiny, tiny_url, tmp_path, weights):
    folder = open_store(str(tmp_path / "run"))
    warm_start.put(folder, weights)
    with pytest.raises(DataError, match="parent.safetensors"):
        trainer(tiny, tiny_url, folder, "0" * 64).resume()


def test_weights_of_another_network_are_refused_in_one_line(tiny, tiny_url, tmp_path):
    folder, path = open_store(str(tmp_path / "run")), tmp_path / "weights"
    save_file({"fc8.bias": torch.zeros(5)}, path)
    warm_start.put(folder, path)
    with pytest.raises(CheckpointError, match="weights of another network: .*warm_start=false"):
        trainer(tiny, tiny_url, folder, digest(path)).resume()


def test_what_is_no_weights_is_refused(tmp_path):
    store, path = open_store(str(tmp_path)), tmp_path / "weights"
    path.write_bytes(b"\x80\x04 pickled")
    warm_start.put(store, path)
    with pytest.raises(CheckpointError, match="no weights"):
        warm_start.read(store, digest(path))


def test_the_parent_is_a_part_of_the_run_and_not_of_the_recipe(tiny_url):
    plain, warm = tiny_run(tiny_url), tiny_run(tiny_url, parent="a" * 64)
    assert plain.digest() != warm.digest()
    assert plain.recipe_digest() == warm.recipe_digest() == plain.digest()
    assert RunConfig().recipe_digest() != plain.recipe_digest()


def test_a_parent_that_is_no_digest_is_refused(tiny_url):
    with pytest.raises(ConfigError, match="train.parent = 'best': must be a SHA-256 in hex"):
        tiny_run(tiny_url, parent="best")
