"""Which shards of others are for training and which for validation."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from alexnet import seeds
from alexnet.dataset.manifest import SPLITS
from alexnet.errors import DataError
from alexnet.preparation.account import Account
from alexnet.preparation.sources.split_names import TEST_RULE, split_of


def shards(
    where: str,
    names: Iterable[str],
    val_share: float,
    *,
    growing: bool = False,
    account: Account | None = None,
) -> dict[str, list[str]]:
    """The tars among the files of a folder, by split, in order of their names.

    The split is told by the words of the names. If no shard says `val`, whole shards become the
    validation split, chosen by a hash of their names, so that more shards change none's split.

    Args:
        where: what messages call the folder.
        names: of its files.
        val_share: share of the shards for validation where none is named so.
        growing: whether they come to a data set that has both splits.
        account: counts shards of a test split.

    Raises:
        DataError: a split would be empty, or a name does not tell where others do.
    """
    by_split = by_name(where, names, account or Account())
    found, silent = {split: by_split[split] for split in SPLITS}, by_split[""]
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


def by_name(where: str, names: Iterable[str], account: Account) -> dict[str, list[str]]:
    """The tars by the split that their names tell, empty where none does; without a test split.

    Raises:
        DataError: a name tells two, or none where others do.
    """
    found: dict[str, list[str]] = {"train": [], "val": [], "test": [], "": []}
    for name in sorted(name for name in names if name.endswith(".tar")):
        found[_split_in(where, name)].append(name)
    for name in found.pop("test"):
        account.found += 1
        account.pass_over(TEST_RULE, name)
    if found[""] and (found["train"] or found["val"]):
        raise DataError(
            f"{where}: {found[''][0]}: the name says neither train nor val, as others' do. Name it "
            "so, or move it away."
        )
    return found


def _split_in(where: str, name: str) -> str:
    """The split that the words of a name tell; empty if none does."""
    splits = {split_of([word]) for word in re.split(r"[^a-z]+", name.lower())} - {""}
    if len(splits) > 1:
        raise DataError(
            f"{where}: {name}: the name says {' and '.join(sorted(splits))}. Rename it, so that "
            "it tells one split."
        )
    return min(splits, default="")


def _divide(names: list[str], val_share: float, *, growing: bool) -> tuple[list[str], list[str]]:
    draws = {name: seeds.derive(0, "val", PurePosixPath(name).name) for name in names}
    limit = val_share * 2**63
    if not growing and len(names) > 1:
        # Neither split may be empty: the smallest draw goes there in any case, the largest never.
        limit = min(max(limit, min(draws.values()) + 1), max(draws.values()))
    train = [name for name in names if draws[name] >= limit]
    return train, [name for name in names if draws[name] < limit]
