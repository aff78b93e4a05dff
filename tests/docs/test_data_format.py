"""The page on the data format is true, and its example works."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from alexnet.dataset import manifest, shard_index
from tests.tiny_data import NUM_TRAIN, colour_samples

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "data-format.md").read_text()


@pytest.fixture
def tree(tiny):
    return json.loads(tiny[0].read(manifest.MANIFEST_NAME))


@pytest.fixture
def validator():
    schema = json.loads((DOCS / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_manifest_fits_the_schema(tree, validator):
    validator.validate(tree)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"classes": []}, {"more": 1}, {"splits": {"train": {}}}]
)
def test_the_schema_refuses_what_is_not_one(tree, validator, change):
    assert not validator.is_valid(tree | change)


def test_every_key_and_column_is_described(tree):
    names = {*tree, *tree["splits"]["train"], *tree["colour"], *shard_index.SAMPLE.names}
    names |= {*manifest._table_dtype(1, 8).names, *shard_index._dtype(1).names}
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_the_example_reads_the_third_image(tiny, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tiny[0].url)
    names = {}
    exec(code, names)
    third = list(colour_samples("train", NUM_TRAIN))[2]
    assert (names["jpeg"], names["label"]) == (third.jpeg, third.label)
    assert names["crc"] == shard_index.crc32c(third.jpeg)
