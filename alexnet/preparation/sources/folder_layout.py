"""Which folders of a source are splits and classes, told by where its images lie."""

from collections.abc import Collection
from functools import cache
from typing import NamedTuple

from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation.sources.split_names import WORDS, resembled, split_of

Folder = tuple[str, ...]


class Place(NamedTuple):
    """What a folder is."""

    split: str
    """`train`, `val`, `test`, or empty."""
    label: str
    """Name of the class; empty if images do not belong here."""


def parts(name: str) -> list[str]:
    """What a name consists of, without empty parts and `.`."""
    return [part for part in name.split("/") if part not in ("", ".")]


def folder_of(name: str) -> Folder:
    """The folders that a file lies in."""
    return tuple(parts(name)[:-1])


class Layout:
    """Which folders are splits and classes."""

    def __init__(self, where: str, folders: Collection[Folder]) -> None:
        """Find out from the folders that images lie in.

        Raises:
            DataError: it cannot be told.
        """
        self._where = where
        self.splits = _split_folders(where, folders)
        """Folder of each split; without any, the one that all is in."""
        self._bases: dict[Folder, str] = {}
        around: Folder | None = None
        # A split with one class does not show which part that is; the others do.
        for root in sorted(self.splits, key=lambda root: -len(_inside(folders, root))):
            if self.splits[root] == "test":
                self._bases[root] = "test"
            else:
                around = _around(where, root, _inside(folders, root), around)
                self._bases[root + around] = self.splits[root]
        self._labels: dict[str, str] = {}
        self.place = cache(self._place)

    @property
    def depth(self) -> int:
        """Parts of the names of the splits' folders, or of the classes' where there is none."""
        return len(min(self.splits)) or 1 + len(min(self._bases))

    def is_lost_split(self, folder: Folder) -> bool:
        """Whether a folder is one of a split beside those that have images, or lies in one."""
        root, first = folder[: self.depth], min(self.splits)
        beside = bool(first) and len(root) == self.depth and root[:-1] == first[:-1]
        return beside and root not in self.splits and split_of(root[-1:]) in ("train", "val")

    def _place(self, folder: Folder) -> Place:
        for base, split in self._bases.items():
            if folder[: len(base)] == base:
                return Place(split, self._label(*folder[len(base) :][:1]))
        return Place("", "")

    def _label(self, folder: str = "") -> str:
        label = printable(folder)
        if self._labels.setdefault(label, folder) != folder:
            raise DataError(
                f"{self._where}: two folders of classes are both written {label}, for one of the "
                "names has bytes that are no text. Rename one."
            )
        return label


def _split_folders(where: str, folders: Collection[Folder]) -> dict[Folder, str]:
    """The folders that are splits; without any, the one that all is in."""
    named = [
        folder[: depth + 1]
        for folder in folders
        for depth, part in enumerate(folder[:-1])  # a split has folders of classes
        if split_of([part])
    ]
    if not named:
        _refuse_resembled(where, folders)
        return {(): ""}
    first = min(named, key=lambda folder: (len(folder), folder))
    found: dict[Folder, str] = {}
    for folder in sorted({folder[: len(first)] for folder in folders if len(folder) >= len(first)}):
        split = split_of(folder[-1:])
        other = next((root for root, name in found.items() if name == split), ())
        if other and split != "test":
            raise DataError(
                f"{where}: {text(other)} and {text(folder)} are both the {split!r} split. Put "
                "the images of both into one folder."
            )
        if folder[:-1] != first[:-1] or not split:
            raise DataError(
                f"{where}: {text(folder)} lies beside {text(first)} and is no split that is "
                f"known: these are {', '.join(WORDS)}. Rename it, or move it away; if it is a "
                "class to train on, move it into train/."
                if folder[:-1] == first[:-1]
                else f"{where}: images lie in {text(folder)} and in {text(first)}, which is a "
                "split. Put the folders of all splits beside one another, or move one away."
            )
        found[folder] = split
    return found


def _refuse_resembled(where: str, folders: Collection[Folder]) -> None:
    """Refuse folders of classes that lie in folders such as `train_set` and `test_set`."""
    for level in range(min(map(len, folders), default=1) - 1):
        names = {folder[level] for folder in folders}
        if len(names) > 1 and all(map(resembled, names)):
            name = min(names)
            raise DataError(
                f"{where}: folders of images lie in {', '.join(sorted(map(printable, names)))}, "
                f"which look like splits. Call them as they are meant, such as {resembled(name)!r} "
                f"instead of {printable(name)!r}."
            )


def _inside(folders: Collection[Folder], root: Folder) -> set[Folder]:
    """What a folder's folders are called from there."""
    return {folder[len(root) :] for folder in folders if folder[: len(root)] == root} - {()}


def _around(
    where: str, root: Folder, folders: Collection[Folder], like: Folder | None = None
) -> Folder:
    """The folders around the classes inside a split: those before the only part that differs.

    Args:
        where: what messages call the source.
        root: the split.
        folders: inside it, that images lie in.
        like: what they are in another split.
    """
    if not folders:
        return ()
    one = min(folders, key=lambda folder: (len(folder), folder))
    if len(folders) == 1:
        return like if like is not None and one[:-1][: len(like)] == like else one[:-1]
    differ = [i for i in range(len(one)) if len({folder[i] for folder in folders}) > 1]
    other = max(folders, key=lambda folder: (len(folder), folder))
    one_level = len(other) == len(one) and len(differ) == 1
    inside = [folder for folder in folders if split_of(folder[differ[0] + 1 :] if differ else ())]
    if inside:
        raise DataError(
            f"{where}: {text(root + min(inside))} is a split inside a class. Put the classes into "
            "the splits, train/CLASS/IMAGE and val/CLASS/IMAGE."
        )
    if one_level:
        return one[: differ[0]]
    raise DataError(
        f"{where}: images lie in {text(root + one)} and in {text(root + other)}, so it cannot be "
        f"told which folders are the classes. Expected {text(root)}CLASS/IMAGE: name the folder "
        "of the classes, or move the images of each class into one folder."
    )


def text(folder: Folder) -> str:
    """What messages call a folder, such as `train/cat/`."""
    return "".join(f"{printable(part)}/" for part in folder)
