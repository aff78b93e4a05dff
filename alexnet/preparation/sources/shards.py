"""WebDataset shards as a source of new ones, such as img2dataset's output or a read-only bucket."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePosixPath
from typing import NamedTuple

from alexnet.errors import DataError
from alexnet.preparation.account import Account
from alexnet.preparation.sources import class_map, shard_splits, webdataset
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.listing import (
    Contents,
    Entry,
    Listing,
    Spread,
    fingerprint,
    listed,
)
from alexnet.preparation.sources.suspicions import alike
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.preparation.sources.webdataset import RawSample
from alexnet.storage.store import Store


class _Shard(NamedTuple):
    """What is in a tar."""

    name: str
    samples: list[RawSample]
    """Without the bytes of their images."""
    account: Account
    version: int
    """See `Entry.version`."""


def listing(
    store: Store, found: Contents, spread: Spread = map, classes: ClassMap | None = None
) -> Listing:
    """The images of the shards in a folder; reads all of them.

    Args:
        store: the folder.
        found: all that is in it.
        spread: reads shards side by side.
        classes: that they have; None for those that are found.

    Raises:
        StoreError: a shard cannot be read.
        DataError: a tar is compressed or not whole, WebDataset's reader would take it otherwise, or
            what the classes are cannot be told.
    """
    where = store.url
    names = [entry.name for entry in found.files]
    for name in names:
        if name.endswith(".tar"):
            found.account.found -= 1  # what is in it counts
        else:
            found.account.not_image(name)
    by_split = shard_splits.by_name(where, names, found.account)
    splits = {name: split for split, shards in by_split.items() for name in shards}
    # In order, for two shards may have an image of the same name.
    shards: list[_Shard] = sorted(spread(_Read(store), splits), key=attrgetter("name"))
    if classes is None:
        labels = [class_map.labels_of(shard.samples) for shard in shards]
        classes = class_map.class_map(where, labels)
    entries: list[Entry] = []
    for shard in shards:
        found.account.merge(shard.account)
        for sample in shard.samples:
            known = classes.label(sample)  # what is no class ends the command, as in place
            try:
                image, label = webdataset.usable(sample, known)
            except DataError as error:
                rejected = sample.images or (sample.key,)
                found.rejects.extend((f"{shard.name}: {name}", str(error)) for name in rejected)
                continue
            split, base = splits[shard.name], PurePosixPath(image.name).name
            name = f"{split}/{classes.names[label]}/{base}".lstrip("/")
            place = shard.name, image.offset, image.length, shard.version
            entries.append(Entry(name, split, label, *place))
    return listed(where, classes.names, entries, found, alike(where, classes.names))


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads a tar."""

    store: Store

    def __call__(self, name: str) -> _Shard:
        account, version = Account(), fingerprint(self.store.version(name))
        found = []
        for sample in webdataset.samples(Walk(self.store, name), account):
            image = sample.image
            if image and image.data is not None:
                image = image._replace(data=b"")
            found.append(sample._replace(image=image))
        webdataset.count_empty(name, account)
        return _Shard(name, found, account, version)
