"""Images laid out as `split/class/image` or `class/image`, as torchvision's `ImageFolder` has them.

Classes get their labels in alphabetical order, as there.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from alexnet.errors import DataError
from alexnet.preparation.sources.listing import Entry, Listing, listed

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
"""Files that count as images, in any case; others are passed over."""


def listing(where: str, files: Iterable[Entry]) -> Listing:
    """The images among the files of a folder or a tar.

    Args:
        where: what messages call it.
        files: all files with their paths as names; split and label are not set yet.

    Raises:
        DataError: no image is where one should be, or the splits' classes differ.
    """
    images = [entry for entry in files if is_image(entry.name)]
    split = [entry for entry in images if PurePosixPath(entry.name).parts[-3:-2] in _SPLITS]
    entries = split or [entry for entry in images if len(PurePosixPath(entry.name).parts) > 1]
    if not entries:
        raise DataError(
            f"{where}: no image in a folder of its class. Expected train/CLASS/IMAGE and "
            "val/CLASS/IMAGE, or CLASS/IMAGE."
        )
    classes = _classes(where, entries) if split else {_class(entry) for entry in entries}
    labels = {name: label for label, name in enumerate(sorted(classes))}
    parts = 3 if split else 2  # one folder around everything does no harm
    return listed(
        where,
        sorted(classes),
        (
            entry._replace(
                name="/".join(PurePosixPath(entry.name).parts[-parts:]),
                split=PurePosixPath(entry.name).parts[-3] if split else "",
                label=labels[_class(entry)],
            )
            for entry in entries
        ),
    )


_SPLITS = (("train",), ("val",))


def is_image(name: str) -> bool:
    """Whether a file counts as an image, by its name."""
    return name.lower().endswith(SUFFIXES)


def _class(entry: Entry) -> str:
    return PurePosixPath(entry.name).parts[-2]


def _classes(where: str, entries: list[Entry]) -> set[str]:
    """Classes of all splits, which must be the same."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        found.setdefault(PurePosixPath(entry.name).parts[-3], set()).add(_class(entry))
    train, val = found.get("train", set()), found.get("val", set())
    if not train:
        raise DataError(f"{where}: no image under train/CLASS/. Expected train/CLASS/IMAGE.")
    if val and train != val:
        raise DataError(
            f"{where}: class {min(train ^ val)!r} has images in one of train/ and val/ only. Add "
            "some, or remove it."
        )
    return train
