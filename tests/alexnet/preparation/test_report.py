"""The page says what the figures say, needs nothing but itself, and trusts no name."""

from html.parser import HTMLParser

import numpy as np
import pytest

from alexnet import images
from alexnet.errors import DataError
from alexnet.preparation.duplicates import Duplicates
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.report import Report, to_html
from alexnet.preparation.statistics import Findings

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page():
    found = Findings()
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for label, split in ((0, "train"), (1, "train"), (0, "val")):
        data = images.encode_jpeg(picture + label)
        found.add(data, split, label, examine(data))
    for number in range(3):
        found.reject(f"{EVIL}-{number}.jpg", DataError("an empty file: no image"))
    classes = (EVIL, "dog")
    repeated = Duplicates(1, 0, 0, [[0, 1]], ["repeated"])
    groups = [[f"{EVIL}-one", f"{EVIL}-two"]]
    found.account.pass_over("hidden", f".{EVIL}")
    found.account.not_image("1.<b>")
    problems = (f"{EVIL} is altered",)
    return Page(to_html(Report(EVIL, classes, found, repeated, groups, 1000, problems)))


def test_names_from_the_data_are_text(page):
    assert "script" not in page.tags
    assert page.words.count(f"Data set {EVIL}") == 2  # title and heading


def test_nothing_is_loaded_from_elsewhere(page):
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)


def test_what_is_no_image_is_listed_with_its_rule_or_suffix(page):
    listed = {f".{EVIL}", "passed over: hidden", "1.<b>", "by suffix: another suffix"}
    assert listed <= set(page.words)


def test_it_says_what_its_validation_images_can_tell(page):
    assert "1,000 validation images tell a difference in top-1 of 2.8% from chance." in page.words


def test_every_reject_class_repetition_and_problem_is_listed(page):
    assert {f"{EVIL}-one", f"{EVIL}-two", f"{EVIL} is altered"} <= set(page.words)
    assert all(f"{EVIL}-{number}.jpg" in page.words for number in range(3))
    assert "dog" in page.words


def test_figures_are_those_of_the_findings(page):
    at = page.words.index("Usable images")
    assert page.words[at + 1] == "3"
    assert page.words[page.words.index("Rejected files") + 1] == "3"


def test_sizes_are_in_units_people_read(page):
    assert any(word.endswith(" KiB") for word in page.words)
    assert "64 to 95 px" in page.words
