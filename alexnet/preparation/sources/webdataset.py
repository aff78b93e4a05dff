"""WebDataset shards that others have written: tars in which neighbours with one key are a sample.

The key is the name up to the first dot behind the last slash, the suffix is the rest. A sample is
an image (`.jpg` and other suffixes of `suffixes.DECODED`) and its class: the text of `.cls`, or
`label`, `cls` or `class` in `.json`, or, where there is neither, the folder of the image or its
name before the first `_`, if a class has that name. A class is a name or a number.
https://github.com/webdataset/webdataset describes the format; what its reader takes for a sample is
one here too, or the shard is refused.
"""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation.account import Account
from alexnet.preparation.sources import passed_over
from alexnet.preparation.sources.listing import BYTES
from alexnet.preparation.sources.suffixes import DECODED, is_image
from alexnet.preparation.sources.tar_stream import MAX_MEMBER_BYTES, Content, Walk
from alexnet.storage.store import NO_FILE

FIELDS = ("label", "cls", "class")
"""Where a class may be in `.json`, in order of preference."""

METADATA = "metadata of WebDataset"
"""Rule for members that its reader passes over: `__name__`, and what lies in such a folder."""

MAX_SHOWN = 80
"""Characters of a label in a message."""

RESERVED = (".__key__", ".__url__", ".__bad__", ".__local_path__")
"""Suffixes that its reader uses in a sample for itself."""

EMPTY_SHARD = "a shard without files"
"""Rule for a tar in which there are folders at most."""

_METADATA = re.compile(r"__[^/]*__(?:$|/)")

_KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)$")
"""The reader's own expression."""

OTHER_IMAGE = "another image of a sample"
"""Rule for what lies beside the image that is used, such as `.seg.png`."""


class RawSample(NamedTuple):
    """Members of a tar that belong together."""

    where: str
    """What messages call it."""
    key: str
    image: Content | None
    label: str | None
    """As it is written there, a whole number without `+` and `.0`; None if there is none. What is
    neither a name nor a number in `.json` is here as JSON."""
    images: tuple[str, ...] = ()
    """Names of the images that the sample has, where none is the one to use."""

    @property
    def offset(self) -> int:
        """Of the image's first byte in the tar; 0 without an image."""
        return self.image.offset if self.image else 0


def samples(walk: Walk, account: Account | None = None) -> Iterator[RawSample]:
    """The samples of a tar that have an image or a label.

    Args:
        walk: over the tar.
        account: counts the members but the images of the samples: `image`, else `images`; of a
            sample with neither the first member counts as one.

    Raises:
        StoreError: it cannot be read.
        DataError: it is no whole tar, WebDataset's reader would take it otherwise, or a `.json`
            member is not JSON.
    """
    account = account or Account()
    keys: set[str] = set()
    for key, group in groupby(_named(walk, account), key=lambda item: item[0]):
        found: dict[str, Content] = {}
        for _, suffix, member in group:
            if suffix in RESERVED:
                raise DataError(
                    f"{walk.where}: {printable(member.name)}: WebDataset's reader uses {suffix} "
                    "for itself. Rename it."
                )
            if suffix in found:
                raise DataError(
                    f"{walk.where}: sample {printable(key)!r} has {printable(suffix)} twice, "
                    "which WebDataset's reader refuses too. Give each sample a key of its own."
                )
            found[suffix] = member
        sample = _sample(walk.where, key, found, account)
        if not sample:
            continue
        if key in keys and not (sample.image and sample.label is not None):
            raise DataError(
                f"{walk.where}: the parts of sample {printable(key)!r} are not next to each other, "
                "so WebDataset's reader takes them for two. Write the tar with --sort=name."
            )
        keys.add(key)
        yield sample


def _named(walk: Walk, account: Account) -> Iterator[tuple[str, str, Content]]:
    """Key, suffix and member of all that WebDataset's reader looks at."""
    for member in walk:
        account.found += 1
        key, suffix = split_name(member.name)
        if member.problem == NO_FILE:
            account.pass_over(NO_FILE, member.name)
        elif _METADATA.match(member.name):
            account.pass_over(METADATA, member.name)
        elif key is None:
            _other(member.name, passed_over.rule(member.name)[0], account)
        elif member.problem:
            raise DataError(
                f"{walk.where}: {printable(member.name)} is {member.problem}. Write the tar from "
                "files, with --dereference and --hard-dereference, and without --sparse."
            )
        else:
            yield key, suffix, member


def _other(name: str, rule: str, account: Account) -> None:
    if rule:
        account.pass_over(rule, name)
    else:
        account.not_image(name)


def _sample(where: str, key: str, found: dict[str, Content], account: Account) -> RawSample | None:
    """What the members are; all but the images are accounted for."""
    image = next((found[suffix] for suffix in DECODED if suffix in found), None)
    label = _label(where, found)
    images, others = list[str](), list[tuple[str, str]]()
    for suffix, member in found.items():
        if member is not image:
            rule, _ = passed_over.rule(member.name)
            if is_image(suffix) and not rule:
                images.append(member.name)
            else:
                others.append((member.name, rule))
    if image:
        others += [(name, OTHER_IMAGE) for name in images]
        images = []
    elif not images and label is not None:
        images = [others.pop(0)[0]]
    for name, rule in others:
        _other(name, rule, account)
    if not image and not images:
        return None
    return RawSample(f"{where}: {printable(key)}", key, image, label, tuple(images))


def _label(where: str, found: dict[str, Content]) -> str | None:
    if ".cls" in found:
        return _whole(_text(found[".cls"]))
    return _label_in_json(where, found[".json"]) if ".json" in found else None


def split_name(name: str) -> tuple[str | None, str]:
    """Key and suffix of a member; no key for what WebDataset's reader passes over.

    The name is cut at the first dot behind the last slash. Where nothing lies between the two, the
    reader takes the folder for the key, if its name has no dot.
    """
    found = _KEY.match(name)
    return (found[1], f".{found[2].lower()}") if found else (None, "")


def _text(member: Content) -> str:
    return printable((member.data or b"").removeprefix(codecs.BOM_UTF8).decode(*BYTES).strip())


def _whole(label: str) -> str:
    """A whole number as its digits, for other tools write `3.0`; another label as it is."""
    found = re.fullmatch(r"\+?(-?)0*([0-9]+)(?:\.0*)?", label)
    return f"{found[1]}{found[2]}" if found else label


def _label_in_json(where: str, member: Content) -> str | None:
    try:
        tree = json.loads(member.data or b"")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: {printable(member.name)}: not JSON: {error}. Mend the shard."
        ) from error
    found = [tree[field] for field in FIELDS if field in tree] if isinstance(tree, dict) else []
    if not found:
        return None
    text = found[0] if isinstance(found[0], str) else json.dumps(found[0])
    return _whole(printable(text.strip()))


def usable(sample: RawSample, label: int | None) -> tuple[Content, int]:
    """The image of a sample whose label was looked up, and the label.

    Raises:
        DataError: it has none, or one that is too large.
    """
    if sample.image is None:
        raise DataError(
            f"a sample without an image: sample {printable(sample.key)!r} has no "
            f"{', '.join(DECODED)}, where the suffix is what follows the first dot"
        )
    if label is None:
        raise DataError(
            f"a sample without a class: its label is {shown(sample.label)}"
            if sample.label is not None
            else "a sample without .cls, .json or the name of a class"
        )
    if sample.image.data is None:
        raise DataError(
            f"a file of {sample.image.length} bytes: must have at most {MAX_MEMBER_BYTES}"
        )
    return sample.image, label


def shown(label: str) -> str:
    """A label in quotes; the beginning of a long one, which is a text that is no label."""
    return repr(label if len(label) <= MAX_SHOWN else f"{label[:MAX_SHOWN]}...")


def count_empty(name: str, account: Account) -> None:
    """Count a tar without files, which no sample accounts for, as passed over itself."""
    if not account.found:
        account.found = 1
        account.pass_over(EMPTY_SHARD, name)
