"""WebDataset shards that others have written: tars in which neighbours with one key are a sample.

A sample is an image (`.jpg`, `.jpeg` or `.png`) and its class: the text of `.cls`, or `label`,
`cls` or `class` in `.json`, or, where there is neither, the folder of the image or its name before
the first `_`, if a class has that name. A class is a name or a number.
https://github.com/webdataset/webdataset describes the format.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from alexnet import seeds
from alexnet.errors import ConfigError, DataError
from alexnet.preparation.sources.listing import Spread
from alexnet.preparation.sources.tar_stream import Content, Walk
from alexnet.storage.store import Store

IMAGES = (".jpg", ".jpeg", ".png")

FIELDS = ("label", "cls", "class")
"""Where a class may be in `.json`, in order of preference."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""Words in a shard's name that tell its split; a shard with `test` in it is passed over."""


class RawSample(NamedTuple):
    """Members of a tar that belong together."""

    where: str
    """What messages call it."""
    key: str
    image: Content | None
    label: str | None
    """As it is written there; None if there is none."""

    @property
    def offset(self) -> int:
        """Of the image's first byte in the tar; 0 without an image."""
        return self.image.offset if self.image else 0


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Class names in label order."""

    names: tuple[str, ...]

    def label(self, sample: RawSample) -> int | None:
        """Label of a sample; None if it has none.

        Raises:
            DataError: it is not a class.
        """
        if sample.label is None:
            path = PurePosixPath(sample.key)
            known = (name for name in (path.parent.name, path.name.partition("_")[0]))
            return next((self.names.index(name) for name in known if name in self.names), None)
        if sample.label in self.names:
            return self.names.index(sample.label)
        if sample.label.isdecimal() and int(sample.label) < len(self.names):
            return int(sample.label)
        raise DataError(
            f"{sample.where}: class {sample.label!r} is not one of the {len(self.names)} classes. "
            "Name the classes that the shards have with --classes."
        )


def samples(walk: Walk) -> Iterator[RawSample]:
    """The samples of a tar.

    Raises:
        StoreError: it cannot be read.
        DataError: it is no whole tar, or a `.json` member is not JSON.
    """
    named = ((*_split_name(member.name), member) for member in walk)
    for key, group in groupby(named, key=lambda item: item[0]):
        found = {suffix: member for _, suffix, member in group}
        image = next((found[suffix] for suffix in IMAGES if suffix in found), None)
        label = None
        if ".cls" in found:
            label = (found[".cls"].data or b"").decode(errors="replace").strip()
        elif ".json" in found:
            label = _label_in_json(walk.where, found[".json"])
        if image or label is not None:
            yield RawSample(f"{walk.where}: {key}", key, image, label)


def _split_name(name: str) -> tuple[str, str]:
    """Key and suffix of a member: the name is cut at the first dot behind the last slash."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def _label_in_json(where: str, member: Content) -> str | None:
    try:
        tree = json.loads(member.data or b"")
    except ValueError as error:
        raise DataError(f"{where}: {member.name}: not JSON: {error}. Mend the shard.") from error
    found = (tree[field] for field in FIELDS if field in tree) if isinstance(tree, dict) else ()
    label = next(iter(found), None)
    return str(label) if isinstance(label, str | int) and not isinstance(label, bool) else None


def shards(
    where: str, names: Iterable[str], val_share: float, *, growing: bool = False
) -> dict[str, list[str]]:
    """The tars among the files of a folder, by split, in order of their names.

    The split is told by the words of the names. If no shard says `val`, whole shards become the
    validation split, chosen by a hash of their names, so that more shards change none's split.

    Args:
        where: what messages call the folder.
        names: of its files.
        val_share: share of the shards for validation where none is named so.
        growing: whether they come to a data set that has both splits.

    Raises:
        DataError: a split would be empty, or a name does not tell where others do.
    """
    found: dict[str, list[str]] = {"train": [], "val": []}
    silent = []
    for name in sorted(name for name in names if name.endswith(".tar")):
        words = re.split(r"[^a-z]+", name.lower())
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
        if split:
            found[split].append(name)
        elif "test" not in words:
            silent.append(name)
    if silent and (found["train"] or found["val"]):
        raise DataError(
            f"{where}: {silent[0]}: the name says neither train nor val, as others' do. Name it "
            "so, or move it away."
        )
    if not found["val"]:
        train, val = _divide(silent or found["train"], val_share, growing=growing)
        found = {"train": train, "val": val}
    for split, chosen in found.items():
        if not chosen and not growing:
            raise DataError(
                f"{where}: no shard for the {split!r} split. Shards with train and val in their "
                "names are needed, or two shards at least."
            )
    return found


def _divide(names: list[str], val_share: float, *, growing: bool) -> tuple[list[str], list[str]]:
    draws = {name: seeds.derive(0, "val", PurePosixPath(name).name) for name in names}
    limit = val_share * 2**63
    if not growing and len(names) > 1:
        # Neither split may be empty: the smallest draw goes there in any case, the largest never.
        limit = min(max(limit, min(draws.values()) + 1), max(draws.values()))
    train = [name for name in names if draws[name] >= limit]
    return train, [name for name in names if draws[name] < limit]


def find_classes(store: Store, names: Sequence[str], spread: Spread) -> ClassMap:
    """The classes that the shards name; reads all of them once.

    Numbers are their own names; other names are sorted.

    Raises:
        StoreError: a shard cannot be read.
        DataError: a sample has no class, or a number is missing.
    """
    found: set[str] = set()
    for labels in spread(_Labels(store), names):
        found |= labels
    if all(label.isdecimal() for label in found):
        missing = sorted(set(range(len(found))) - {int(label) for label in found})
        if missing:
            raise DataError(
                f"{store.url}: {len(found)} classes, but no image of class {missing[0]}. Name the "
                "classes in label order with --classes."
            )
        return ClassMap(tuple(map(str, range(len(found)))))
    return ClassMap(tuple(sorted(found)))


@dataclass(frozen=True, slots=True)
class _Labels:
    """The classes in a shard."""

    store: Store

    def __call__(self, name: str) -> set[str]:
        labels = set()
        for sample in samples(Walk(self.store, name)):
            if sample.label is None:
                raise DataError(
                    f"{sample.where} has no .cls and no .json with a "
                    "label. Name the classes with --classes if folders or names tell them."
                )
            labels.add(sample.label)
        return labels


def read_class_map(path: Path) -> ClassMap:
    """The classes in a file: a line each, or a JSON list, or a JSON object of names and labels.

    Raises:
        ConfigError: it is none of these, names a class twice, or labels have gaps.
    """
    try:
        text = path.read_text()
        is_json = text.lstrip()[:1] in ("[", "{")
        tree: Any = json.loads(text) if is_json else text.splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--classes {path}: cannot be read: {error}. Mend it.") from error
    if isinstance(tree, dict):
        if sorted(map(str, tree.values())) != sorted(map(str, range(len(tree)))):
            raise ConfigError(
                f"--classes {path}: labels must be the numbers from 0 to {len(tree) - 1}."
            )
        tree = sorted(tree, key=lambda name: int(tree[name]))
    names = tuple(str(name).strip() for name in tree if str(name).strip())
    if not names:
        raise ConfigError(f"--classes {path}: no class. Write one name a line, in label order.")
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f"--classes {path}: class {name!r} is there {count} times.")
    return ClassMap(names)
