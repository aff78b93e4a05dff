"""A configuration is right when it is built, or refused with the value and the rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import config, config_file
from alexnet.errors import ConfigError
from pipelines import _command


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.learing_rate=1", "optim.learing_rate: unknown key. Did you mean optim.learning_ra"),
        ("optimizer.momentum=1", r"optimizer: unknown key\. "),
        ("train.zzz=1", "train.zzz: unknown key. Known: train.epochs, "),
        ("train.epochs=1.5", "train.epochs = 1.5: must be int, not float"),
        ("train.epochs=true", "train.epochs = True: must be int, not bool"),
        ("optim.momentum='0.9'", "optim.momentum = '0.9': must be float, not str"),
        ("optim.momentum=nan", "optim.momentum = nan: must be a finite number"),
        ("optim.momentum=1", r"optim.momentum = 1.0: must be in \[0, 1\)"),
        ("optim.learning_rate=0", "optim.learning_rate = 0.0: must be above 0"),
        ("optim.weight_decay=-1", "optim.weight_decay = -1.0: must be 0 or more"),
        ("optim.warmup_epochs=-1", "optim.warmup_epochs = -1.0: must be 0 or more"),
        ("optim.decay=line", "optim.decay = 'line': must be one of cosine, step"),
        ("optim.decay_epochs=[60, 30]", r"optim.decay_epochs = \(60, 30\): must rise strictly"),
        ("optim.decay_epochs=30", "optim.decay_epochs = 30: must be a list"),
        ("augment.crop_area=[0.1]", r"augment.crop_area = \[0.1\]: must have 2 values, not 1"),
        ("augment.crop_area=[0, 1]", r"augment.crop_area = \(0.0, 1.0\): must rise within"),
        ("augment.crop_aspect=[2, 1]", "augment.crop_aspect = .*: must rise and be above 0"),
        ("augment.flip=2", r"augment.flip = 2.0: must be in \[0, 1\]"),
        ("augment.rotation_degrees=181", r"must be in \[0, 180\]"),
        ("augment.brightness=2", r"augment.brightness = 2.0: must be in \[0, 1\]"),
        ("augment.hue=1", r"augment.hue = 1.0: must be in \[0, 0.5\]"),
        ("augment.lighting=2", r"augment.lighting = 2.0: must be in \[0, 1\]"),
        ("model.num_classes=1", "model.num_classes = 1: must be 2 or more"),
        ("model.width=0", "model.width = 0.0: must be above 0"),
        ("model.dropout=1", r"model.dropout = 1.0: must be in \[0, 1\)"),
        ("data.image_px=62", "data.image_px = 62: must be 63 or more"),
        ("data.num_streams=0", "data.num_streams = 0: must be 1 or more"),
        ("data.window_samples=0", "data.window_samples = 0: must be 1 or more"),
        ("data.loader_processes=-1", r"data.loader_processes = -1: must be in \[0, 64\]"),
        ("train.epochs=0", "train.epochs = 0: must be 1 or more"),
        ("train.global_batch_size=100", "must be a multiple of data.num_streams = 64; 128 would"),
        ("train.global_batch_size=0", "train.global_batch_size = 0: must be 1 or more"),
        ("train.seed=-1", r"train.seed = -1: must be in \[0"),
        ("train.checkpoint_every_s=-1", r"must be 0 \(always\) or more"),
        ("train.log_every_steps=0", "must be 1 or more"),
        ("cluster.num_workers=-1", "cluster.num_workers = -1: must be 0"),
        ("cluster.num_workers=65", "cluster.num_workers = 65: must be at most data.num_streams"),
        ("cluster.num_workers=[2, 65]", "cluster.num_workers = 65: must be at most data.num_str"),
        ("cluster.num_workers=[0, 2]", r"cluster.num_workers = \(0, 2\): must rise from 1"),
        ("cluster.num_workers=[4, 2]", r"cluster.num_workers = \(4, 2\): must rise from 1"),
        ("cluster.num_workers=[4]", r"cluster.num_workers = \[4\]: must have 2 values"),
        ("cluster.num_workers=all", "cluster.num_workers = 'all': must be int"),
        ("cluster.checkpoints_kept=0", "must be 1 or more"),
        ("cluster.store_timeout_s=0", "must be above 0"),
        ("cluster.stop_timeout_s=0", "must be above 0"),
        ("cluster.resize_every_s=0", "must be above 0"),
        ("cluster.hang_timeout_s=180", "must be above cluster.store_timeout_s"),
        ("registry.timeout_s=-1", "must be 0 or more"),
        ("run.name='a b'", "run.name = 'a b': must be at most 61"),
        ("cluster.device=tpu", "cluster.device = 'tpu': must be one of auto, cpu, gpu"),
        ("cluster.cpus_per_worker=0", "must be 1 or more"),
        ("cluster.start_timeout_s=-1", "must be 0 or more"),
        ("cluster.max_failures=-1", "must be 0 or more"),
        ("cluster.storage_url=''", "must name a folder"),
        ("registry.model_name='a b'", "registry.model_name = 'a b': must be letters"),
        ("registry.experiment=''", "registry.experiment = '': must be letters"),
        ("name='Two Words'", "name = 'Two Words': must be"),
        ("train=3", "train = 3: must be a section with keys"),
        ("train.epochs", "--set train.epochs: must be section.key=value"),
        ("name.x=1", "--set name.x=1: name is a value, not a section"),
    ],
)
def test_a_wrong_value_is_refused_with_the_value_and_the_rule(tmp_path, override, message):
    path = tmp_path / "run.toml"
    path.write_text('name = "x"\n')
    with pytest.raises(ConfigError, match=message):
        config_file.load(path, [override])


def test_a_file_that_windows_has_saved_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "r"\r\n[train]\r\nepochs = 3\r\n')
    assert config_file.load(path).train.epochs == 3


def test_what_is_not_toml_is_named(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("epochs: 3")
    with pytest.raises(ConfigError, match=r"run\.toml: not TOML"):
        config_file.load(path)


@pytest.mark.parametrize("path", sorted(_command.CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_config_that_ships_is_right_and_named_as_its_file(path):
    assert config_file.load(path).name == path.stem


def test_the_last_override_wins_and_a_bare_word_is_a_string(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[train]\nepochs = 3\n")
    made = config_file.load(path, ["train.epochs=4", "train.epochs=5", "data.url=s3://a/b"])
    assert made.train.epochs == 5
    assert made.data.url == "s3://a/b"


@given(st.integers(1, 99), st.floats(0.001, 1), st.text(max_size=20))
def test_written_out_and_read_back_it_is_the_same(tmp_path_factory, epochs, rate, url):
    made = config_file.parse(
        {"train": {"epochs": epochs}, "optim": {"learning_rate": rate}, "data": {"url": url}}
    )
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    path.write_text(config_file.to_toml(made), encoding="utf-8")
    assert config_file.load(path) == made
    assert config_file.load(path).digest() == made.digest()


def test_defaults_are_those_of_the_paper():
    made = config.RunConfig()
    assert (made.optim.momentum, made.optim.weight_decay) == (0.9, 5e-4)
    assert (made.model.dropout, made.train.epochs, made.model.num_classes) == (0.5, 90, 1000)
    assert made.augment.lighting == 0.1


def other(value):
    """Another valid value of the same kind."""
    if isinstance(value, bool | str):
        return None
    if isinstance(value, tuple):
        return [item / 2 + 0.25 for item in value]
    return value + 1 if isinstance(value, int) else value / 2


def test_what_decides_the_weights_is_in_the_identity_and_nothing_else():
    default = config.RunConfig()
    elsewhere = {"cluster", "gate", "price", "registry", "retrain", "run", "name"}
    for key, value in config.flat(default).items():
        section, _, name = key.partition(".")
        changed = other(value)
        if changed == value:
            changed = 0.25
        if changed is None or key in ("optim.decay_epochs", "retrain.max_cost"):  # with others only
            continue
        made = config_file.parse({section: {name: changed}} | batch_for(key, changed))
        kept = section in elsewhere or key in config.NOT_IDENTITY
        assert (made.digest() == default.digest()) == kept, key


def batch_for(key, value):
    """What must change along with a key."""
    if key == "data.num_streams":
        return {"train": {"global_batch_size": value}}
    if key == "train.global_batch_size":
        return {"train": {"global_batch_size": 512}}
    if key == "cluster.store_timeout_s":
        return {"cluster": {"store_timeout_s": value}}
    if key == "cluster.hang_timeout_s":
        return {"cluster": {"hang_timeout_s": 999.0}}
    return {}


def test_a_range_of_workers_is_read_and_written(tmp_path):
    made = config_file.parse({"cluster": {"num_workers": [2, 8]}})
    assert (made.cluster.min_workers, made.cluster.max_workers) == (2, 8)
    path = tmp_path / "run.toml"
    path.write_text(config_file.to_toml(made))
    assert config_file.load(path) == made


def test_changed_values_are_checked_and_nothing_else_changes():
    base = config_file.parse({"name": "mine", "optim": {"momentum": 0.5}})
    values = {"optim.learning_rate": 0.5, "augment.crop_area": [0.5, 1.0]}
    there, here = config.flat(config_file.changed(base, values)), config.flat(base)
    assert {key: there[key] for key in there if there[key] != here[key]} == {
        "optim.learning_rate": 0.5,
        "augment.crop_area": (0.5, 1.0),
    }
    with pytest.raises(ConfigError, match="optim.momentum = 1.5: must be in"):
        config_file.changed(base, {"optim.momentum": 1.5})


def test_a_file_of_what_differs_from_the_defaults_is_read_back_to_the_same(tmp_path):
    made = config_file.parse({"name": "mine", "optim": {"momentum": 0.5}})
    text = config_file.to_toml(made, whole=False)
    assert text == 'name = "mine"\n\n[optim]\nmomentum = 0.5\n'
    (tmp_path / "run.toml").write_text(text)
    assert config_file.load(tmp_path / "run.toml") == made
