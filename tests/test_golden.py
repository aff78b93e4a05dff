"""Results are what they were, down to the digits; `tests/golden_values.py` says when they may not.

Where the machine is the one of the file, by processor and packages, digests must be the same. On
another one sums are taken in another order, so numbers are compared instead.
"""

import math

import pytest

from tests import golden_values

TOLERANCES = {"train/loss": 1e-4, "val/loss": 1e-4, "mean": 1e-3, "std": 1e-3, "first": 1e-3}
"""Relative, by key. Sums of float32 in another order differ by some 1e-7, which a dozen steps of
training make ten to a hundred times more; a change of the recipe, of the data's order or of the
augmentation moves a loss by 1e-3 or more. Statistics of pixels move by a thousandth if every
hundredth pixel is rounded to its neighbour."""

EXACT = 1e-9
"""Of numbers without a tolerance: the last digits of a sine are the C library's."""

OF_THE_MACHINE = ("sha256", "manifest digest", "val/top1", "val/top5")
"""Keys of what another processor or package may change."""


def leaves(tree, path=()):
    """Pairs of a path and a value."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def same(path, value, golden):
    """Whether a value may stand for the golden one."""
    if not isinstance(value, float) or not isinstance(golden, float):
        return value == golden
    tolerance = max((TOLERANCES.get(key, EXACT) for key in path), default=EXACT)
    return math.isclose(value, golden, rel_tol=tolerance, abs_tol=1e-6)


def changes(name):
    """What is not as the file says, a line each."""
    stored = golden_values.stored(name)
    exact = stored["machine"] == golden_values.machine()
    found = dict(leaves(golden_values.VALUES[name]()))
    golden = dict(leaves(stored["values"]))
    return [
        f"{'/'.join(map(str, path))}: {found.get(path)!r} instead of {golden.get(path)!r}"
        for path in {**golden, **found}
        if (exact or not set(OF_THE_MACHINE) & set(path))
        and not (path in found and path in golden and same(path, found[path], golden[path]))
    ]


def test_losses_of_a_short_run_and_initial_weights_are_what_they_were():
    assert changes("training") == []


def test_the_order_of_an_epoch_is_what_it_was():
    assert changes("order") == []


def test_augmented_pixels_are_what_they_were():
    assert changes("pixels") == []


def test_every_file_of_the_embedded_digits_is_what_it_was():
    assert changes("digits") == []


def test_the_help_of_every_command_is_what_it_was():
    assert changes("commands") == []


def test_keys_defaults_and_digests_of_configurations_are_what_they_were():
    assert changes("configuration") == []


@pytest.mark.slow  # MLflow makes a database in some 6 s
def test_names_in_mlflow_are_what_they_were():
    assert changes("mlflow-names") == []


def test_each_file_of_golden_values_is_made_and_compared():
    compared = {f"{name}.json" for name in golden_values.VALUES}
    kept = {path.name for path in golden_values.FOLDER.glob("*.json")}
    assert kept == compared | {"odd-images.json"}  # of the photographs; tests/alexnet
