"""Which trials a search makes follows from its file, and each of them is a run that is checked."""

import dataclasses
import json
import math

import pytest

from alexnet import config_file
from alexnet.errors import ConfigError
from alexnet.search import space as search
from alexnet.search.space import Range, Search

RATES = "optim.learning_rate = { log = [0.001, 1.0] }\n"
BASE = config_file.parse({"model": {"num_classes": 3}})


@pytest.fixture
def written(tmp_path):
    """A search from the text of its space and of what stands before it."""

    def load(space=RATES, head=""):
        path = tmp_path / "space.toml"
        path.write_text(f"{head}\n[space]\n{space}")
        return search.load(path)

    return load


def test_the_first_trial_is_the_run_itself_and_the_others_differ_from_each_other(written):
    drawn = search.draws(written(head="trials = 40"), BASE)
    assert drawn[0] == {}
    assert len({json.dumps(values) for values in drawn}) == 40


def test_more_trials_begin_with_the_same_ones(written):
    few, many = (search.draws(written(head=f"trials = {number}"), BASE) for number in (5, 50))
    assert many[:5] == few


def test_another_seed_gives_other_trials(written):
    one, other = (search.draws(written(head=f"seed = {seed}"), BASE)[1:] for seed in (0, 1))
    assert not set(map(json.dumps, one)) & set(map(json.dumps, other))


@pytest.mark.parametrize(("kind", "halves"), [("uniform", 0.5005), ("log", math.sqrt(0.001 * 1.0))])
def test_half_of_the_trials_lie_in_each_half_of_a_range(written, kind, halves):
    text = f"optim.learning_rate = {{ {kind} = [0.001, 1.0] }}"
    drawn = [
        each["optim.learning_rate"] for each in search.draws(written(text, "trials = 65"), BASE)[1:]
    ]
    assert all(0.001 <= value <= 1.0 for value in drawn)
    assert sum(value < halves for value in drawn) == pytest.approx(32, abs=2)


def test_a_choice_is_used_up_evenly_and_then_there_are_fewer_trials(written):
    text = "train.global_batch_size = { choice = [64, 128, 192] }"
    drawn = search.draws(written(text, "trials = 30"), BASE)
    assert sorted(each["train.global_batch_size"] for each in drawn[1:]) == [64, 128, 192]


def test_the_runs_own_values_are_not_tried_twice(written):
    text = "augment.rotation_degrees = { choice = [0, 10, 20] }"
    drawn = search.draws(written(text, "trials = 30"), BASE)
    assert BASE.augment.rotation_degrees == 10
    assert sorted(each["augment.rotation_degrees"] for each in drawn[1:]) == [0, 20]


def test_what_is_drawn_can_be_written_down(written):
    drawn = search.draws(written(head="trials = 30"), BASE)[1:]
    assert all(float(f"{value:.4g}") == value for each in drawn for value in each.values())


def test_values_of_several_numbers_can_be_chosen(written):
    wanted = written("augment.crop_area = { choice = [[0.1, 1.0], [0.5, 1.0]] }")
    made = [config_file.changed(BASE, values) for values in search.draws(wanted, BASE)]
    assert {each.augment.crop_area for each in made} == {(0.08, 1.0), (0.1, 1.0), (0.5, 1.0)}


def test_the_digest_changes_with_all_but_how_many_trials_there_are(written):
    first = search.digest(written(), BASE, "m")
    assert search.digest(written(head="trials = 99"), BASE, "m") == first
    assert search.digest(written(head="side_by_side = 9"), BASE, "m") == first
    elsewhere = dataclasses.replace(BASE, name="other")
    assert search.digest(written(), elsewhere, "m") == first
    others = [
        search.digest(written(head="seed = 1"), BASE, "m"),
        search.digest(written(head="min_epochs = 2"), BASE, "m"),
        search.digest(written(head="reduction = 2"), BASE, "m"),
        search.digest(written(RATES.replace("1.0", "0.5")), BASE, "m"),
        search.digest(written(), config_file.changed(BASE, {"model.dropout": 0.1}), "m"),
        search.digest(written(), BASE, "n"),
    ]
    assert len({first, *others}) == 7


@pytest.mark.parametrize(
    ("space", "head", "message"),
    [
        ("", "", r"space.toml: no \[space\]\. List keys"),
        (RATES, "trails = 3", r"trails: unknown key\. Did you mean trials\?"),
        (RATES, "trials = 1", "search.trials = 1: must be 2 or more"),
        (RATES, "trials = 3.5", "trials = 3.5: must be int, not float"),
        (RATES, "min_epochs = 0", "search.min_epochs = 0: must be 1 or more"),
        (RATES, "reduction = 1", "search.reduction = 1.0: must be above 1"),
        (RATES, "side_by_side = -1", "search.side_by_side = -1: must be 0"),
        (RATES, "seed = -1", "search.seed = -1: must be 0 or more"),
        ("learning_rate = { log = [1, 2] }", "", r"space.learning_rate = .* must be section.key"),
        ("optim.momentum = 3", "", "space.optim.momentum = 3: must be one of uniform, log, choice"),
        ("optim.momentum = { normal = [0, 1] }", "", "must be one of uniform, log, choice"),
        ("optim.momentum = { uniform = [0] }", "", "must be the lowest and the highest number"),
        ("optim.momentum = { uniform = [0, '1'] }", "", "must be the lowest and the highest"),
        ("optim.momentum = { uniform = [0.9, 0.1] }", "", "must rise"),
        ("optim.momentum = { log = [0, 0.9] }", "", "must be above 0"),
        ("optim.momentum = { choice = [0.9] }", "", "must be a list of two values or more"),
    ],
)
def test_a_mistake_in_the_file_is_named(written, space, head, message):
    with pytest.raises(ConfigError, match=message):
        written(space, head)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("optim.learning_rat = { log = [1, 2] }", "space.optim.learning_rat: does not vary"),
        ("train.seed = { choice = [1, 2] }", "space.train.seed: does not vary in a search"),
        ("cluster.num_workers = { choice = [1, 2] }", "space.cluster.num_workers: does not vary"),
        (
            "model.dropout = { uniform = [0.5, 1.5] }",
            r"model.dropout = 1\.\d+: must be in \[0, 1\)",
        ),
        ("train.global_batch_size = { log = [64, 256] }", r"must be int, not float"),
        ("train.global_batch_size = { choice = [64, 100] }", "must be a multiple of"),
    ],
)
def test_a_space_that_does_not_fit_the_run_is_refused_before_anything_is_trained(
    written, space, message
):
    with pytest.raises(ConfigError, match=message):
        search.draws(written(space), BASE)


def test_trials_cannot_last_longer_at_least_than_at_most(written):
    message = r"search.min_epochs = 100: must be at most train.epochs = 90"
    with pytest.raises(ConfigError, match=message):
        search.draws(written(head="min_epochs = 100"), BASE)


def test_a_file_that_is_not_there_or_not_toml_is_said(tmp_path):
    with pytest.raises(
        ConfigError, match=r"none.toml: No such file .* Name a TOML file of a search"
    ):
        search.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("trials = ")
    with pytest.raises(ConfigError, match="bad.toml: not TOML"):
        search.load(tmp_path / "bad.toml")


def test_a_range_ends_below_its_highest_value_and_begins_with_its_lowest():
    assert Range("a.b", "uniform", (1.0, 3.0)).at(0.0) == 1.0
    assert Range("a.b", "log", (0.01, 1.0)).at(0.5) == pytest.approx(0.1)
    assert Range("a.b", "choice", (1, 2)).at(math.nextafter(1.0, 0.0)) == 2
    assert Search().space == ()
