"""The classes of WebDataset shards: found in their labels, or named by a file."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from alexnet.errors import ConfigError, DataError
from alexnet.preparation.sources.listing import Spread
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.preparation.sources.webdataset import RawSample, samples, shown
from alexnet.storage.store import Store


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Class names in label order."""

    names: tuple[str, ...]

    def label(self, sample: RawSample) -> int | None:
        """Label of a sample; None if it has none, which is also what -1 or nothing says.

        Raises:
            DataError: it is not a class.
        """
        if sample.label is None:
            path = PurePosixPath(sample.key)
            word, line, _ = path.name.partition("_")
            # Keys are often numbers, which say nothing of a class that is one.
            known = [path.parent.name, word if line and not _is_number(word) else ""]
            return next((self.names.index(name) for name in known if name in self.names), None)
        if sample.label in self.names:
            return self.names.index(sample.label)
        if _is_number(sample.label) and int(sample.label) < len(self.names):
            return int(sample.label)
        if _says_none(sample.label):
            return None
        raise DataError(
            f"{sample.where}: class {shown(sample.label)} is not one of the {len(self.names)} "
            "classes. Name the classes that the shards have with --classes."
        )


def find_classes(store: Store, names: Sequence[str], spread: Spread) -> ClassMap:
    """The classes that the shards name; reads all of them once.

    Numbers are their own names; other names are sorted.

    Raises:
        StoreError: a shard cannot be read.
        DataError: no sample has a class, some are numbers and some are not, or a number is missing.
    """
    return class_map(store.url, spread(_Labels(store), names))


def class_map(where: str, labels: Iterable[Mapping[str, str]]) -> ClassMap:
    """The classes of shards, each shard's as `labels_of` has them.

    Raises:
        DataError: see `find_classes`.
    """
    found: dict[str, str] = {}
    for each in labels:
        found |= {label: min(place, found.get(label, place)) for label, place in each.items()}
    if not found:
        raise DataError(
            f"{where}: no sample has a .cls, or a .json with a label. Name the classes with "
            "--classes if folders or names tell them."
        )
    numbers = set(filter(_is_number, found))
    if numbers and len(numbers) < len(found):
        odd = min(set(found) - numbers)
        raise DataError(
            f"{found[odd]}: class {shown(odd)}, where others are numbers, such as {min(numbers)}. "
            "Mend the shard, or name the classes in label order with --classes."
        )
    if numbers:
        missing = sorted(set(range(len(found))) - {int(label) for label in found})
        if missing:
            raise DataError(
                f"{where}: {len(found)} classes, but no image of class {missing[0]}. Name the "
                "classes in label order with --classes."
            )
        return ClassMap(tuple(map(str, range(len(found)))))
    return ClassMap(tuple(sorted(found)))


@dataclass(frozen=True, slots=True)
class _Labels:
    """The classes in a shard, each with the first sample of it."""

    store: Store

    def __call__(self, name: str) -> dict[str, str]:
        return labels_of(samples(Walk(self.store, name)))


def labels_of(found: Iterable[RawSample]) -> dict[str, str]:
    """The classes that samples name, each with the first of them."""
    labels: dict[str, str] = {}
    for sample in found:
        if sample.label is not None and not _says_none(sample.label):
            labels.setdefault(sample.label, sample.where)
    return labels


def _says_none(label: str) -> bool:
    """Whether a label is what people and tools write where there is none, or several."""
    return bool(re.fullmatch(r"|-[0-9]+|(?i:null|nan)|[\[{].*", label))


def _is_number(label: str) -> bool:
    """Whether a label is the number of a class, which has at most nine digits."""
    return bool(re.fullmatch(r"[0-9]{1,9}", label))


def read_class_map(path: Path) -> ClassMap:
    """The classes in a file: a line each, or a JSON list, or a JSON object of names and labels.

    Raises:
        ConfigError: it is none of these, names a class twice, or labels have gaps.
    """
    try:
        text = path.read_text("utf-8-sig")
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
