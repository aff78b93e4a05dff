"""Checks whether the data that a version was made from is still there and unchanged."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from alexnet.dataset import manifest as manifests
from alexnet.dataset.shard_reader import PIECE_BYTES
from alexnet.errors import AlexNetError, StoreError, StoreUnavailableError
from alexnet.registry.lineage import READ_THREADS, Lineage, ShardDigest
from alexnet.registry.rule_result import RuleResult
from alexnet.storage.store import Store

MOST_NAMED = 5
"""Shards in a line."""

Check = Callable[[ShardDigest], str]
"""What is wrong with a shard, or nothing."""


def verify(made_from: Lineage, store: Store, problems: Iterable[str], how: str) -> list[RuleResult]:
    """Hold the data to the lineage.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    return [_manifest(made_from, store), _shards(made_from, problems, how)]


def shards(made_from: Lineage) -> list[ShardDigest]:
    """Those of all splits."""
    return [shard for split in made_from.shards.values() for shard in split]


@dataclass(frozen=True, slots=True)
class SizeCheck:
    """Asks whether each shard is there with the size that it had."""

    store: Store

    def all(self, listed: list[ShardDigest]) -> Iterator[str]:
        """Problems of these shards."""
        with ThreadPoolExecutor(READ_THREADS) as threads:
            yield from filter(None, threads.map(self, listed))

    def __call__(self, shard: ShardDigest) -> str:
        """What is wrong with a shard, or nothing.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        try:
            found = self.store.num_bytes(shard.name)
        except StoreUnavailableError:
            raise
        except StoreError:
            return f"{shard.name} is missing"
        if found != shard.num_bytes:
            return f"{shard.name} has {found} bytes instead of {shard.num_bytes}"
        return ""


@dataclass(frozen=True, slots=True)
class DigestCheck:
    """Reads each shard whole and compares its SHA-256; can be sent to another machine."""

    store: Store

    def __call__(self, shard: ShardDigest) -> str:
        """What is wrong with a shard, or nothing.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        wrong = SizeCheck(self.store)(shard)
        if wrong:
            return wrong
        try:
            # A byte may be altered on the way: what lies altered is so again.
            if any(self._sha256(shard) == shard.sha256 for _ in range(2)):
                return ""
        except StoreUnavailableError:
            raise
        except StoreError as error:  # deleted or replaced meanwhile
            return str(error)
        return f"{shard.name} was altered: its SHA-256 is another one"

    def _sha256(self, shard: ShardDigest) -> str:
        digest = hashlib.sha256()
        file = self.store.open(
            shard.name, num_bytes=shard.num_bytes, sha256=bytes.fromhex(shard.sha256)
        )
        for offset in range(0, shard.num_bytes, PIECE_BYTES):
            digest.update(file.read(offset, min(PIECE_BYTES, shard.num_bytes - offset)))
        return digest.hexdigest()


def _manifest(made_from: Lineage, store: Store) -> RuleResult:
    rule, wanted = "manifest", f"SHA-256 {made_from.manifest_digest[:12]}"
    try:
        found = manifests.read(store, manifests.name_of(made_from.manifest_digest))
    except StoreUnavailableError:
        raise
    except AlexNetError as error:
        return RuleResult(rule, str(error), wanted, holds=False)
    return RuleResult(rule, found.digest[:12], wanted, found.digest == made_from.manifest_digest)


def _shards(made_from: Lineage, problems: Iterable[str], how: str) -> RuleResult:
    number, wrong = len(shards(made_from)), sorted(problems)
    found = f"{number} of {number}" if not wrong else "; ".join(wrong[:MOST_NAMED])
    if len(wrong) > MOST_NAMED:
        found += f"; and {len(wrong) - MOST_NAMED} more"
    return RuleResult("shards", found, f"{number} of the same {how}", not wrong)
