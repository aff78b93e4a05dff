"""What became of one part of a preparation, as it lies in the store until all parts are made."""

import json
from base64 import b64decode, b64encode
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.dataset.manifest import Shard
from alexnet.preparation.statistics import SEEN, Findings
from alexnet.storage.store import Store


class Record(NamedTuple):
    """What became of a part."""

    split: str
    """`train` or `val`."""
    shard: Shard | None
    """None if no image of the part can be used."""
    findings: Findings
    seen: NDArray[np.void]
    """(usable images,) of dtype `SEEN`."""


def read(store: Store, name: str) -> Record:
    """A part's record.

    Raises:
        StoreError: it cannot be read.
    """
    tree = json.loads(store.read(name))
    shard = tree["shard"]
    if shard:
        shard = Shard(
            name=shard["name"],
            num_samples=shard["num_samples"],
            index_sha256=bytes.fromhex(shard["index_sha256"]),
        )
    seen = np.frombuffer(b64decode(tree["seen"]), SEEN)
    return Record(tree["split"], shard, Findings.from_plain(tree["findings"]), seen)


def to_json(record: Record) -> bytes:
    """What `read` reads."""
    shard = record.shard and {
        "name": record.shard.name,
        "num_samples": record.shard.num_samples,
        "index_sha256": record.shard.index_sha256.hex(),
    }
    tree = {
        "split": record.split,
        "shard": shard,
        "findings": record.findings.to_plain(),
        "seen": b64encode(record.seen.tobytes()).decode(),
    }
    return json.dumps(tree).encode()
