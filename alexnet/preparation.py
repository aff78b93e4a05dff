"""The steps of preparing a data set; each can be interrupted and done again."""

import json
from collections.abc import Iterator
from functools import partial

from alexnet import data_report, findings, prepare
from alexnet import manifest as manifests
from alexnet.errors import DataError
from alexnet.findings import Findings
from alexnet.manifest import Manifest, Shard
from alexnet.prepare import WORK, Part, Settings
from alexnet.sources.ilsvrc import Spread
from alexnet.sources.listing import Listing
from alexnet.store import Store


def begin(store: Store, listing: Listing, chosen: Settings) -> str:
    """Folder for the records of this preparation; those of an interrupted one are in it.

    Raises:
        DataError: the destination has files that are not of this preparation.
    """
    work = f"{WORK}/{chosen.digest(listing)}"
    names = store.list()
    if names and not any(name.startswith(f"{work}/") for name in names):
        other = "an unfinished preparation with other settings or images" * any(
            name.startswith(f"{WORK}/") for name in names
        )
        raise DataError(
            f"{store.url}: not empty: {other or names[0]} is here. Name an empty destination, or "
            "repeat the command that was interrupted; nothing was overwritten."
        )
    store.write(f"{work}/settings.json", json.dumps({"source": listing.where}).encode())
    return work


def make_parts(
    store: Store, source: Store, listing: Listing, chosen: Settings, work: str, spread: Spread
) -> Iterator[int]:
    """Make the parts that are not made yet; how many images each had, those made before first.

    Args:
        store: the destination.
        source: where the images are.
        listing: of them.
        chosen: settings.
        work: of `begin`.
        spread: makes parts side by side.

    Raises:
        StoreError: images cannot be read, or shards cannot be written.
    """
    made = set(_records(store, work))
    todo = (
        part for part in prepare.parts(listing, chosen) if f"{work}/{part.shard}.json" not in made
    )
    make = partial(_make, source=source, destination=store, settings=chosen, work=work)
    yield from (_num_images(store, name) for name in made)
    yield from spread(make, todo)


def _make(part: Part, *, source: Store, destination: Store, settings: Settings, work: str) -> int:
    """Make one part; how many images it had."""
    prepare.make(part, source, destination, settings, work)
    return len(part.images)


def _num_images(store: Store, name: str) -> int:
    found = prepare.read_record(store, name).findings
    return found.num_usable + found.num_rejected


def _records(store: Store, work: str) -> list[str]:
    """Records of finished parts, in order of their shards."""
    return [name for name in store.list() if name.startswith(f"{work}/") and ".tar." in name]


def finish(
    store: Store, listing: Listing, chosen: Settings, work: str, max_rejects: float
) -> tuple[Manifest, str]:
    """Report, hold the data set to its budget of rejects, and publish it.

    Returns:
        The manifest, and the report's file name.

    Raises:
        DataError: too many images are unusable, or a split or class has none left.
    """
    names = _records(store, work)
    found = Findings()
    shards: dict[str, list[Shard]] = {"train": [], "val": []}
    for name in names:
        record = prepare.read_record(store, name)
        found.merge(record.findings)
        if record.shard:
            shards[record.shard.name.partition("-")[0]].append(record.shard)
    repeated = findings.duplicates(
        lambda: (prepare.read_record(store, name).seen for name in names), len(listing)
    )
    report = f"report-{work.rpartition('/')[2]}.html"
    write_report(store, report, chosen.name, found, repeated, listing)
    try:
        found.check_budget(max_rejects)
    except DataError as error:
        raise DataError(f"{store.url}/{report}: {error}") from error
    for split, made in shards.items():
        if not made:
            raise DataError(f"{store.url}/{report}: no image of {split!r} can be used.")
    manifest = manifests.publish(
        store, chosen.name, listing.classes, found.colours.colour(), shards
    )
    for name in [*names, f"{work}/settings.json"]:
        store.delete(name)
    return manifest, report


def write_report(
    store: Store,
    name: str,
    data_set: str,
    found: Findings,
    repeated: findings.Duplicates,
    listing: Listing,
) -> None:
    """Write the report as a page, and beside it as JSON."""
    tree = findings.to_tree(found, listing.classes, repeated)
    tree["duplicates"]["groups"] = [
        [listing.entry(number).name for number in group] for group in repeated.groups
    ]
    page = data_report.to_html(data_set, tree, found.thumbnails, listing.classes)
    store.write(name, page.encode())
    store.write(name.replace(".html", ".json"), (json.dumps(tree, indent=1) + "\n").encode())
