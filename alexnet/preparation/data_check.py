"""Checks a published data set: compares every digest and, if asked, decodes every image."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.dataset import manifest
from alexnet.dataset.manifest import Manifest, Shard
from alexnet.dataset.sample_names import packed_id, sample_name, unpacked
from alexnet.dataset.shard_index import Index, crc32c
from alexnet.errors import DataError, StoreError, StoreUnavailableError
from alexnet.preparation import report as data_report
from alexnet.preparation.duplicates import SEEN, duplicates, seen
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.preparation.statistics import MAX_THUMBNAILS, Findings
from alexnet.storage.store import Store, read_again


class Part(NamedTuple):
    """A shard to be checked."""

    split: str
    shard: Shard
    number: int
    """Among all shards."""
    num_classes: int
    show_share: float
    """See `Findings.add`."""


class Checked(NamedTuple):
    """What was found in a shard."""

    number: int
    problem: str
    """Why it is not as it was written; empty if it is."""
    findings: Findings
    seen: NDArray[np.void]
    """(usable images,) of dtype `SEEN`."""


def parts(known: Manifest) -> Iterator[Part]:
    """The shards of all splits."""
    total = sum(known.num_samples(split) for split in known.splits)
    number = 0
    for split in known.splits:
        for shard in known.split(split):
            share = 2 * MAX_THUMBNAILS / total
            yield Part(split, shard, number, len(known.classes), share)
            number += 1


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """Checks a shard; can be sent to another machine."""

    store: Store
    decode: bool
    """Whether to look at the images too."""

    def __call__(self, part: Part) -> Checked:
        """Read the shard from its first byte to its last.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        try:
            index = manifest.read_index(self.store, part.shard)
            return read_again(lambda: self._read(part, index))
        except StoreUnavailableError:
            raise
        except (DataError, StoreError) as error:
            return Checked(part.number, str(error), Findings(), np.zeros(0, SEEN))

    def _read(self, part: Part, index: Index) -> Checked:
        rows = {offset: (row, *rest) for row, (offset, *rest) in enumerate(index.samples.tolist())}
        findings, seen_rows, altered = Findings(), [], []
        walk = Walk(self.store, part.shard.name)
        for member in walk:
            if member.offset not in rows:
                continue
            row, length, label, crc = rows.pop(member.offset)
            data = member.data or b""
            if len(data) != length or crc32c(data) != crc or label >= part.num_classes:
                altered.append(member.name)
            elif self.decode:
                try:
                    findings.add(data, part.split, label, examine(data), part.show_share)
                    number = packed_id(part.number, row)
                    seen_rows.append(seen(data, number, label, part.split))
                except DataError as error:
                    findings.reject(f"{part.shard.name}: {member.name}", error)
        if altered or rows or walk.sha256 != index.tar_sha256:
            raise _not_as_indexed(walk, index, altered)
        return Checked(part.number, "", findings, np.array(seen_rows, SEEN))


def _not_as_indexed(walk: Walk, index: Index, altered: list[str]) -> DataError:
    found = "altered beside its images"
    if altered:
        found = f"altered: {', '.join(altered[:3])}"
    elif walk.num_bytes != index.tar_bytes:
        found = f"{walk.num_bytes} bytes instead of {index.tar_bytes}"
    return DataError(
        f"{walk.where}: not as its index says, {found}. Restore it, or prepare the data anew."
    )


@dataclass(slots=True)
class Summary:
    """What was found in all shards."""

    folder: Path
    """For what does not fit in memory; the caller removes it."""
    findings: Findings = field(default_factory=Findings)
    problems: list[str] = field(default_factory=list)
    shards: int = 0
    """Counted so far."""

    def add(self, checked: Checked) -> None:
        """Count a shard."""
        self.shards += 1
        self.findings.merge(checked.findings)
        if checked.problem:
            self.problems.append(checked.problem)
        np.save(self.folder / f"{checked.number:08d}.npy", checked.seen)

    def write(self, reports: Store, store: Store, known: Manifest) -> str:
        """Write the report; the file name of its page.

        Raises:
            StoreError: it cannot be written, or a repeated image's name cannot be read.
        """
        files = sorted(self.folder.glob("*.npy"))
        repeated = duplicates(lambda: map(np.load, files), self.findings.num_usable)
        shards = [part.shard for part in parts(known)] if repeated.groups else []
        names = [
            [sample_name(store, shards[shard], row) for shard, row in map(unpacked, group)]
            for group in repeated.groups
        ]
        report = data_report.Report(
            known.name,
            known.classes,
            self.findings,
            repeated,
            names,
            known.num_samples("val") if "val" in known.splits else 0,
            tuple(sorted(self.problems)),
        )
        return data_report.write(reports, f"data-report-{known.digest[:12]}", report)

    def raise_problems(self, max_rejects: float) -> None:
        """Refuse a data set that is not as it was written, or that has too many unusable images.

        Raises:
            DataError: it is.
        """
        if self.problems:
            raise DataError(
                f"not as they were written: {len(self.problems)} of {self.shards} shards. The "
                f"first: {min(self.problems)}"
            )
        self.findings.check_budget(max_rejects)
