"""What people call the splits of a data set."""

import re
from collections.abc import Iterable

WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""In lower case. What is in `test` is never trained on."""

TEST_RULE = "test split"
"""Name of the rule that passes it over."""


def split_of(words: Iterable[str]) -> str:
    """The split that the first known word names; empty if none is known."""
    return next((WORDS[word.lower()] for word in words if word.lower() in WORDS), "")


_LIKE = WORDS | dict.fromkeys(("tests", "eval", "evaluation", "holdout", "unlabeled"), "test")

_RESEMBLES = re.compile(
    rf"(?:.+[\W_])?({'|'.join(_LIKE)})[\W\d_]*(?:set|data|images?|imgs?|pictures|split)?[\W\d_]*",
    re.IGNORECASE,
)


def resembled(name: str) -> str:
    """The split that a name looks like, such as `train2017`, `test_images` or `seg_val`, or is."""
    found = _RESEMBLES.fullmatch(name)
    return _LIKE[found[1].lower()] if found else ""
