"""A preparation as a job of tasks that can be interrupted and resumed, with a record of each.

A job is cut into parts, one for each shard. Any machine can make any part, in any order; what a
part becomes follows from the job alone. A record of what was found lies in the store for each part
that is made, so that an interrupted preparation resumes where it stopped.
"""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from alexnet.dataset import manifest as manifests
from alexnet.dataset import shard_index, shard_writer
from alexnet.dataset.manifest import SPLITS, Manifest, Shard
from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation import account, part_record
from alexnet.preparation import report as data_report
from alexnet.preparation.duplicates import duplicates
from alexnet.preparation.part_record import PartRecord
from alexnet.preparation.report import Report
from alexnet.preparation.sources.listing import Spread, Suspicion
from alexnet.preparation.statistics import Findings
from alexnet.storage.store import Store

WORK = "preparing"
"""Folder of a data set under way; it is removed when the manifest is published."""

JOB = "job.json"
"""What is prepared, in its folder."""

REFUSED = "report"
"""Report of a preparation that was refused at its end, in its folder; without its suffix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be prepared."""

    name: str
    """Of the data set."""
    where: str
    """What messages call the source."""
    classes: tuple[str, ...]
    """In label order."""
    digest: str
    """Identity of the job, 16 hexadecimal digits: the same job gives the same bytes."""
    num_images: int | None
    """To be looked at; None if that is not known before."""
    parts: Callable[[], Iterator[Any]]
    """Each has the file name of its shard as `shard`, and what it is made from as `version()`."""
    make: Callable[[Any, Store], PartRecord]
    """Makes a part in a store; can be pickled."""
    name_of: Callable[[int, Callable[[str], PartRecord]], str]
    """Name of an image by the number that its part gave it; the second argument finds the record
    of a shard."""
    in_place: bool = False
    """Whether the shards are there and are only indexed."""
    found: Findings = field(default_factory=Findings)
    """What was found before the images were looked at."""
    suspicions: tuple[Suspicion, ...] = ()
    """What suggests a mistake in the source."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, whatever the source is.

        Raises:
            DataError: all images are of one class.
        """
        if len(self.classes) < 2:
            raise DataError(
                f"{self.where}: all images are of one class, {self.classes[0]!r}, and one class "
                "alone cannot be trained. Add others; if they are here, put the images of each "
                "class into a folder of its name, CLASS/IMAGE."
            )

    @property
    def work(self) -> str:
        """Folder for the records."""
        return f"{WORK}/{self.digest}"


def name_of(store: Store) -> str:
    """What a data set is called: the last part of its folder."""
    return printable(store.url.rstrip("/").rsplit("/", 1)[-1])


def base_of(store: Store, *, adding: bool) -> Manifest | None:
    """The data set that is added to; None for a new one.

    Raises:
        DataError: there is one where none may be, or none where one must be.
        StoreError: the store cannot be reached.
    """
    if not adding:
        shard_writer.refuse_existing(store)
        return None
    if not store.exists(manifests.MANIFEST_NAME):
        raise DataError(
            f"{store.url}: --add needs a data set to add to, and no {manifests.MANIFEST_NAME} is "
            "here. Leave --add out to make one."
        )
    return manifests.read(store)


class Published(NamedTuple):
    """What a preparation has made."""

    manifest: Manifest
    report: str
    """File name of its page."""
    account: str
    """What became of all that the source has, in a line."""


def check_suspicions(job: Job, accepted: Collection[str]) -> None:
    """Refuse a source that looks like a mistake, unless that kind of mistake is accepted.

    Raises:
        DataError: with the first of them.
    """
    found = [each for each in job.suspicions if each.kind not in accepted]
    if found:
        more = f" And {len(found) - 1} more." if len(found) > 1 else ""
        raise DataError(
            f"{found[0].message.rstrip('.')}; if it is as it should be, add "
            f"--accept {found[0].kind}.{more}"
        )


def check_rejects(job: Job, max_rejects: float) -> None:
    """Refuse a source of which too much cannot be used, if that is known before it is read.

    Raises:
        DataError: more than this share of the images is rejected; with the first of them.
    """
    if job.num_images is None:
        return
    number, total = job.found.num_rejected, job.found.num_rejected + job.num_images
    if number > max_rejects * total:
        first = job.found.rejects[0]
        raise DataError(
            f"{job.where}: {number} of {total} images cannot be used, more than a share of "
            f"{max_rejects:g}: {first.name}, {first.message}. Mend them, or raise --max-rejects."
        )


def begin(store: Store, job: Job, base: Manifest | None = None, *, fresh: bool = False) -> None:
    """Make sure that nothing can be mixed up or overwritten.

    What a preparation has left that was refused, or whose shards are all published, is removed.

    Args:
        store: the destination.
        job: the preparation.
        base: the data set that is added to.
        fresh: also remove what others have left that were interrupted.

    Raises:
        DataError: the destination has files that are not of this preparation.
        StoreError: it cannot be read or written.
    """
    names = set(store.list())
    published = {shard.name for split in base.splits for shard in base.split(split)} if base else ()
    left: dict[str, set[str]] = {}
    for name in names:
        if name.startswith(f"{WORK}/"):
            left.setdefault("/".join(name.split("/")[:2]), set()).add(name)
    mine = left.pop(job.work, set())
    for work, files in left.items():
        shards = {name[len(work) + 1 : -len(".json")] for name in files if ".tar." in name}
        if not (
            fresh or f"{work}/{REFUSED}.json" in files or (shards and shards <= set(published))
        ):
            raise DataError(
                f"{store.url}: an unfinished preparation with other settings or images is here. "
                "Repeat its command, or add --fresh to remove what it has made; nothing was "
                "overwritten."
            )
        names -= _remove(store, work, files, shards - set(published))
    if not mine and not job.in_place:
        taken = names & {part.shard for part in job.parts()} if base else names
        if taken:
            raise DataError(
                f"{store.url}: not empty: {printable(min(taken))} is here. Name an empty "
                "destination; nothing was overwritten."
            )
    for name in mine & {f"{job.work}/{REFUSED}.json", f"{job.work}/{REFUSED}.html"}:
        store.delete(name)
    tree = {"source": job.where, "in_place": job.in_place}
    store.write(f"{job.work}/{JOB}", json.dumps(tree).encode())


def _remove(store: Store, work: str, files: set[str], shards: set[str]) -> set[str]:
    """Remove a preparation: records, and shards that it has made itself; the names of all."""
    removed = set(files)
    if f"{work}/{JOB}" in files and not json.loads(store.read(f"{work}/{JOB}")).get(
        "in_place", True
    ):
        removed |= {each for shard in shards for each in (shard, shard_index.name_of(shard))}
    for name in sorted(removed):
        store.delete(name)
    return removed


def make_parts(store: Store, job: Job, spread: Spread) -> Iterator[int]:
    """Make the parts that are not made yet; how many images each had, those made before first.

    A part is made again if what it is made from was written anew since, or if its shard is gone.

    Raises:
        DataError: the record of a part is damaged.
        StoreError: images cannot be read, or shards cannot be written.
    """
    made = _made(store, job)
    yield from made.values()
    todo = (part for part in job.parts() if _record_name(job, part.shard) not in made)
    yield from spread(_Make(job.make, store, job.work), todo)


def _made(store: Store, job: Job) -> dict[str, int]:
    """Records that hold for their parts, and how many images each part had."""
    there, made = set(store.list()), dict[str, int]()
    for part in job.parts() if _records(store, job) else ():
        name = _record_name(job, part.shard)
        record = part_record.read(store, name) if name in there else None
        if record and record.version == part.version(store):
            shard = record.shard
            if not shard or {shard.name, shard.index} <= there:
                made[name] = record.num_images
    return made


@dataclass(frozen=True, slots=True)
class _Make:
    """Makes a part and puts its record down; how many images it had."""

    make: Callable[[Any, Store], PartRecord]
    store: Store
    work: str

    def __call__(self, part: Any) -> int:
        made = self.make(part, self.store)
        part_record.write(self.store, f"{self.work}/{part.shard}.json", made)
        return made.num_images


def _record_name(job: Job, shard: str) -> str:
    return f"{job.work}/{shard}.json"


def _records(store: Store, job: Job) -> list[str]:
    """Records of finished parts, in order of their shards."""
    return [name for name in store.list() if name.startswith(f"{job.work}/") and ".tar." in name]


def finish(store: Store, job: Job, max_rejects: float, base: Manifest | None = None) -> Published:
    """Report, hold the data set to its budget of rejects, and publish it.

    The report of a data set is named after its manifest, and lies there before the manifest does;
    that of one that is refused lies among the records.

    Args:
        store: the destination.
        job: all of whose parts are made.
        max_rejects: share of the images that may be unusable.
        base: the data set that is added to. Its shards come first, and its colours stay, so that
            networks of both see the same pixels.

    Raises:
        DataError: too many images are unusable, a split or class has none left, something that was
            listed is not accounted for, or the record of a part is damaged.
    """
    listed, report = _summary(store, job, base)
    found = report.found
    found.account.check(job.where, found.num_usable + found.num_rejected)
    try:
        found.check_budget(max_rejects)
        if not base:
            found.check_complete(job.classes)
    except DataError as error:
        page = data_report.write(store, f"{job.work}/{REFUSED}", report)
        raise DataError(f"{store.url}/{page}: {error}") from error
    colour = base.colour if base else found.colours.colour()
    draft = manifests.draft(job.name, job.classes, colour, listed)
    page = data_report.write(store, f"report-{draft.digest[:12]}", report)
    manifest = manifests.publish(store, draft)
    for name in store.list():
        if name.startswith(f"{job.work}/"):
            store.delete(name)
    return Published(
        manifest, page, account.line(found.account, found.num_usable, found.num_rejected)
    )


def _summary(
    store: Store, job: Job, base: Manifest | None
) -> tuple[dict[str, list[Shard]], Report]:
    """The shards of each split, those of the base first, and all that was found."""
    names = _records(store, job)
    found = Findings()
    found.merge(job.found)
    listed: dict[str, list[Shard]] = {
        split: list(base.split(split)) if base else [] for split in SPLITS
    }
    for name in names:
        made = part_record.read(store, name)
        found.merge(made.findings)
        if made.shard:
            listed[made.split].append(made.shard)
    repeated = duplicates(
        lambda: (part_record.read(store, name).seen for name in names), found.num_usable
    )
    of_shard = lru_cache(maxsize=8)(lambda shard: part_record.read(store, _record_name(job, shard)))
    groups = [[job.name_of(number, of_shard) for number in group] for group in repeated.groups]
    num_val = sum(shard.num_samples for shard in listed["val"])
    return listed, Report(job.name, job.classes, found, repeated, groups, num_val)
