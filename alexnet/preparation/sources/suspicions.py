"""What suggests a mistake in a source, though it can be prepared."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from alexnet.dataset.sample_names import printable
from alexnet.preparation.sources.archives import is_archive
from alexnet.preparation.sources.folder_layout import Folder, Layout, Place, folder_of, parts, text
from alexnet.preparation.sources.listing import Contents, Suspicion
from alexnet.preparation.sources.split_names import resembled
from alexnet.preparation.sources.suffixes import is_image
from alexnet.storage.store import LISTED

MAX_OTHER_SHARE = 0.01
"""Of the files in the folders of classes: more that are no images suggest a suffix that is not
known."""


def lost_classes(
    where: str, layout: Layout, places: Collection[Place], found: Contents, others: list[str]
) -> Iterator[Suspicion]:
    """Classes that have a folder or a link, and splits too, but no image that can be looked at."""
    inside = [(folder_of(name), name) for name in others]
    inside += [(tuple(parts(name)), "") for name in found.others]
    inside += [
        (folder_of(name) if is_image(name) else tuple(parts(name)), name)
        for name, _ in found.rejects
    ]
    files: dict[Folder, set[str]] = defaultdict(set)
    for folder, name in inside:
        place = layout.place(folder)
        if place.label and place.split != "test" and place not in places:
            files[tuple(filter(None, place))].add(name)
        elif layout.is_lost_split(folder):
            files[folder[: layout.depth]].add(name)
    trained = {place.label for place in places if place.split == "train"}
    if any(place.split == "val" for place in places):
        for label in trained - {place.label for place in places if place.split == "val"}:
            files["val", label].add("")
    for folder, names in sorted(files.items()):
        first = ", ".join(sorted(map(printable, names - {""}))[:3])
        yield Suspicion(
            "empty-class",
            f"{where}: {text(folder)} has no image, {f'only {first}' if first else 'nothing'}. Add "
            "some, or remove the folder.",
        )


def other_files(where: str, others: Mapping[str, int], num_images: int) -> Iterator[Suspicion]:
    """So many files in the folders of classes that images of an unknown kind may be among them.

    Args:
        where: what messages call the source.
        others: number of files by suffix.
        num_images: beside them.
    """
    number = sum(others.values())
    if number > MAX_OTHER_SHARE * (number + num_images):
        most = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:3]
        yield Suspicion(
            "other-files",
            f"{where}: {number} files beside the {num_images} images are passed over by their "
            f"suffix ({', '.join(f'{suffix} {count}' for suffix, count in most)}). Move them away, "
            "or convert them if they are images.",
        )


def repeated_links(where: str, found: Contents) -> Iterator[Suspicion]:
    """Links to folders that are listed already."""
    kind = found.account.passed_over.get(LISTED)
    if kind:
        yield Suspicion(
            "repeated-link",
            f"{where}: {kind.names[0]} is a link to a folder that is listed already, so it is "
            "passed over. Remove one of the two.",
        )


def archives(where: str, others: list[str]) -> Iterator[Suspicion]:
    """Archives among the files that are passed over."""
    name = next(filter(is_archive, others), None)
    if name:
        yield Suspicion(
            "archive",
            f"{where}: {printable(name)} is an archive, and what is in it is not read. Unpack it, "
            "or move it away.",
        )


def look_alike(one: str, other: str) -> bool:
    """Whether names differ in case, spaces, accents, leading zeros or what is not seen."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).casefold()
    seen = "".join(each for each in letters if unicodedata.category(each) != "Cf")
    accents = "\u0300-\u036f"  # once they are apart from their letters
    return re.sub(rf"[\s_{accents}-]+|(?<![\d.])0+(?=\d)", "", seen)


def split_names(where: str, classes: Collection[str]) -> Iterator[Suspicion]:
    """Classes that are called like splits, where there are no splits."""
    name = next(filter(resembled, sorted(classes)), None)
    if name is not None:
        yield Suspicion(
            "split-name",
            f"{where}: {name!a} is called like a {resembled(name)} split, and lies beside folders "
            "of classes. Put these into train/, or move it away.",
        )


def alike(where: str, classes: Iterable[str]) -> Iterator[Suspicion]:
    """Names of classes that look alike."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(_plain(name), name)
        if other != name:
            yield Suspicion(
                "alike-classes",
                f"{where}: classes {other!a} and {name!a} look alike. Put them together, "
                "or rename one.",
            )
