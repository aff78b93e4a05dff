"""Images laid out as `split/class/image` or `class/image`, as torchvision's `ImageFolder` has them.

Classes get their labels in alphabetical order, as there. Folders around everything, and folders
that are the same in every class, as in `train/CLASS/images`, do no harm.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from functools import partial

from alexnet.errors import DataError
from alexnet.preparation.account import line, suffix_of
from alexnet.preparation.sources import suspicions
from alexnet.preparation.sources.folder_layout import Layout, Place, folder_of, parts, text
from alexnet.preparation.sources.listing import Contents, Entry, Listing, listed
from alexnet.preparation.sources.split_names import TEST_RULE, resembled
from alexnet.preparation.sources.suffixes import is_image

NO_CLASS = "in no folder of a class"


def listing(where: str, found: Contents) -> Listing:
    """The images among the files of a folder or a tar.

    Args:
        where: what messages call it.
        found: all that is in it.

    Raises:
        DataError: no image is where one should be, it cannot be told which folders are the classes,
            or the splits' classes differ.
    """
    images, others = [], list[str]()
    for entry in found.files:
        if is_image(entry.name):
            images.append(entry)
        else:
            found.account.not_image(entry.name)
            others.append(entry.name)
    layout = Layout(where, {folder_of(entry.name) for entry in images})
    entries: list[tuple[Place, Entry]] = []
    for entry in images:
        place = layout.place(folder_of(entry.name))
        if place.split == "test":
            found.account.pass_over(TEST_RULE, entry.name)
        elif not place.label:
            found.rejects.append((entry.name, NO_CLASS))
        else:
            name = f"{place.split}/{place.label}/{parts(entry.name)[-1]}".lstrip("/")
            entries.append((place, entry._replace(name=name, split=place.split)))
    odd = list(suspicions.archives(where, others))
    if not entries:
        if odd:
            raise DataError(odd[0].message)
        here = line(found.account, 0, len(found.rejects))
        raise DataError(
            f"{where}: no image in a folder of its class ({here}). Expected train/CLASS/IMAGE and "
            "val/CLASS/IMAGE, or CLASS/IMAGE."
        )
    places = {place for place, _ in entries}
    classes = sorted(_classes(where, layout, places))
    labels = {name: label for label, name in enumerate(classes)}
    odd += [
        *suspicions.lost_classes(where, layout, places, found, others),
        *suspicions.other_files(where, _beside(layout, others), len(entries)),
        *suspicions.repeated_links(where, found),
        *suspicions.alike(where, classes),
        *(suspicions.split_names(where, classes) if "" in layout.splits.values() else ()),
    ]
    return listed(
        where,
        classes,
        (entry._replace(label=labels[place.label]) for place, entry in entries),
        found,
        odd,
    )


def _beside(layout: Layout, others: list[str]) -> Counter[str]:
    """Files that are no images by suffix: those in the folders of classes, or in other folders.

    A few words about the data set lie where the folders do, and are not counted.
    """
    folders = ((suffix_of(name), folder_of(name)) for name in others)
    return Counter(
        suffix
        for suffix, folder in folders
        if len(folder) >= layout.depth and layout.place(folder).split != "test"
    )


def _classes(where: str, layout: Layout, places: Collection[Place]) -> set[str]:
    """Classes of all splits, which must be the same."""
    found: dict[str, set[str]] = defaultdict(set)
    for place in places:
        found[place.split].add(place.label)
    if "" in found:
        _refuse_splits(where, found[""])
        return found[""]
    for root, split in layout.splits.items():
        if split not in found and split != "test":
            raise DataError(
                f"{where}: images lie in {text(root)} without a folder of their class. Expected "
                f"{text(root)}CLASS/IMAGE: put them into such folders, or move {text(root)} away."
            )
    train, val = found["train"], found["val"]
    if not train:
        raise DataError(
            f"{where}: no image under train/CLASS/, only in {text(min(layout.splits))} and the "
            "like. Expected train/CLASS/IMAGE."
        )
    unknown = min(val - train, default=None)
    if unknown is not None:
        near = next(filter(partial(suspicions.look_alike, unknown), sorted(train)), min(train))
        raise DataError(
            f"{where}: class {unknown!a} has images in one of train/ and val/ only: val/ has "
            f"{len(val)} classes, and train/ has {len(train)}, such as {near!a}. Put the images "
            "into folders of the same classes, or move val/ away."
        )
    return train


def _refuse_splits(where: str, classes: Collection[str]) -> None:
    """Refuse folders of images that are splits by their names rather than classes."""
    splits = {resembled(name) for name in classes}
    if "" not in splits or len(splits - {""}) > 1:
        names = sorted(filter(resembled, classes))
        raise DataError(
            f"{where}: {', '.join(names)} are names of splits, and images lie in them without a "
            "folder of their class. Expected train/CLASS/IMAGE; if they are classes, move all of "
            "them into a folder train/."
        )
