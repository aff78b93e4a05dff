"""Findings add up the same however the images are dealt to parts."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import images
from alexnet.errors import DataError
from alexnet.preparation import duplicates as module
from alexnet.preparation.duplicates import KINDS, SEEN, duplicates, seen
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.report import to_tree
from alexnet.preparation.statistics import Findings

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (20 + 9 * i, 40, 3), dtype=np.uint8) for i in range(5)]
FILES = [images.encode_jpeg(picture) for picture in PICTURES]
FILES += [
    cv2.imencode(".png", PICTURES[0][:, :, 0])[1].tobytes(),
    b"",
    b"no image",
    FILES[1][:-100],
]


def found_in(numbers):
    part = Findings()
    for number in numbers:
        data = FILES[number]
        part.account.pass_over("hidden", f".{number}")
        part.account.not_image(f"{number}.txt")
        try:
            part.add(data, "val" if number == 1 else "train", number % 2, examine(data))
        except DataError as error:
            part.reject(f"file {number}", error)
    return part


@given(st.permutations(range(len(FILES))), st.integers(0, len(FILES)))
def test_parts_add_up_to_the_whole_in_any_order(order, cut):
    merged = found_in(order[cut:])
    merged.merge(found_in(order[:cut]))
    assert merged == found_in(range(len(FILES)))


def test_every_image_is_usable_or_rejected_with_a_reason():
    whole = found_in(range(len(FILES)))
    assert whole.num_usable == 6
    assert whole.reasons == {"empty": 1, "not an image": 1, "truncated": 1}
    assert [item.name for item in whole.rejects] == ["file 6", "file 7", "file 8"]
    assert whole.formats == {"JPEG": 5, "PNG": 1}
    assert whole.notes == {"grey": 1}


def test_too_many_rejects_are_refused_with_the_commonest_reasons():
    whole = found_in(range(len(FILES)))
    whole.check_budget(3 / 9)
    with pytest.raises(DataError, match=r"3 of 9 images cannot be used \(1 .*share of 0\.1"):
        whole.check_budget(0.1)


def rows_of(images_):
    """`(file, label, split)` of each image as rows."""
    return np.array(
        [seen(data, number, label, split) for number, (data, label, split) in enumerate(images_)],
        SEEN,
    )


def test_leaks_conflicts_and_repeats_are_told_apart():
    rows = rows_of(
        [
            (b"a", 0, "train"),
            (b"b", 0, "train"),
            (b"a", 0, "val"),
            (b"b", 1, "train"),
            (b"c", 2, "val"),
            (b"c", 2, "val"),
            (b"d", 3, "val"),
        ]
    )
    repeated = duplicates(lambda: [rows], len(rows))
    assert repeated == (2, 1, 1, [[1, 3], [0, 2], [4, 5]], list(KINDS))


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 1), st.booleans()),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_duplicates_do_not_depend_on_parts_or_passes(drawn, passes):
    rows = rows_of([(data, label, "val" if val else "train") for data, label, val in drawn])
    expected = duplicates(lambda: [rows], len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PASS_BYTES", max(1, len(rows) * SEEN.itemsize // passes))
        assert duplicates(lambda: np.array_split(rows, 3), len(rows)) == expected


def test_the_tree_is_json_and_counts_every_class():
    whole = found_in(range(len(FILES)))
    tree = json.loads(json.dumps(to_tree(whole, ("even", "odd"), duplicates(list, 0))))
    assert tree["classes"] == {"train": {"even": 3, "odd": 2}, "val": {"even": 0, "odd": 1}}
    assert sum(tree["short_side_px"].values()) == sum(tree["file_bytes"].values()) == 6
