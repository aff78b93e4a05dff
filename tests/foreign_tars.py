"""Random tars of samples as other programs write them, and worse; the same seed, the same bytes."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from functools import cache

import cv2
import numpy as np

from alexnet import images
from tests.tars import member

CLASSES = ("0", "1", "2", "3", "cat", "dog")
"""Of which most labels are."""

LABELS = {
    ".cls": ("0", "1\n", " 2 ", "3.0", "+1", "\ufeff2", "03", "cat", "dog\n"),
    ".json": ('{"label": 1}', '{"cls": "2"}', '{"class": "dog"}', '{"label": 3.0, "cls": 0}'),
}
ODD_JSON = ("null", "[1]", "NaN", "true", "-1", '""', '"\\ud800"', "[" * 10**5, "")
ODD_LABELS = {
    ".cls": ("", "-1", "-1.0", "nan", "3.5", "bird", "1\n2", "0" * 5000 + "1", "9" * 5000),
    ".json": (*(f'{{"label": {value}}}' for value in ODD_JSON), '{"width": 3}', "[1]", ""),
}
FOLDERS = ("", "./", "cat/", "dog/", "./cat/deep/", "x.y/", "a//b/", "back\\slash/")
ODD_FOLDERS = ("../", "/absolute/", "/", "new\nline/", "cat.x\nline/", "cat/../dog/")
ODD_FOLDERS += ("__MACOSX/", ".hidden/", "@eaDir/", "PaxHeaders.7/", "__meta__/")
STEMS = ("{}", "cat_{}", "{} space", "é{}", "\udcff{}", "long" * 40 + "{}", "up{}PER")
ODD_STEMS = ("photo.{}", "{}.", "", ".hidden{}", "new{}\nline", "__key{}__", "-{}")
IMAGES = (".jpg", ".jpg", ".JPG", ".jpeg", ".png", ".webp")
ODD_IMAGES = (".input.jpg", ".tif", ".jpg\n")
OTHERS = (".txt", ".seg.png", ".png", ".input.jpg", ".json", ".cls.txt", ".__bad__", ".__key__")
BESIDE = (".DS_Store", "__keys__", "README", "._README.md", "__x__/y.jpg", "Thumbs.db", "a", "cat")


@cache
def _picture(suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    if suffix in (".webp", ".png"):
        return cv2.imencode(suffix, pixels)[1].tobytes()
    return images.encode_jpeg(pixels)


def foreign_tar(seed, oddity=None):
    """A tar in which what is odd is rare, so that most of them can be read to their end.

    Args:
        seed: the same gives the same.
        oddity: what is done to all members, such as `links`; None for any or nothing.
    """
    rng = random.Random(seed)
    folders = [_drawn(rng, FOLDERS, ODD_FOLDERS, 0.15) for _ in range(2)]
    members = []
    for number in range(rng.randrange(7)):
        members += _sample(rng, rng.choice(folders), number)
    if oddity or rng.random() < 0.3:
        oddity = oddity or rng.choice([_beside, _companions, links, _sparse, _twice, _apart])
        oddity(rng, members or [member("a.jpg", b"x")])
    return _ended(rng, _written(rng, members), seed)


def _drawn(rng, usual, odd, share):
    return rng.choice(odd if rng.random() < share else usual)


def _sample(rng, folder, number):
    key = folder + _drawn(rng, STEMS, ODD_STEMS, 0.1).format(number)
    suffix = _drawn(rng, IMAGES, ODD_IMAGES, 0.1)
    # Decoders pass over what follows the end of an image, and it makes each one's bytes its own.
    image = _picture(suffix) + b"%d" % number if rng.random() < 0.95 else b"broken"[: number * 2]
    label = rng.choice([".cls"] * 4 + [".json", ".json", ""])
    files = [(suffix, image)]
    if label:
        text = _drawn(rng, LABELS[label], ODD_LABELS[label], 0.05)
        files.append((label, text.encode()))
    if rng.random() < 0.1:
        files.append((rng.choice(OTHERS), b"3"))
    if rng.random() < 0.03:
        files.remove(files[0])
    rng.shuffle(files)
    return [member(key + suffix, data) for suffix, data in files]


def _beside(rng, members):
    """What is no part of a sample."""
    kinds = [tarfile.FIFOTYPE, tarfile.CHRTYPE, b"Z", tarfile.DIRTYPE, tarfile.REGTYPE]
    for name in rng.sample(BESIDE, 3):
        members.insert(rng.randrange(len(members)), member(name, kind=rng.choice(kinds)))


def _companions(rng, members):
    """What tar of macOS puts before each file."""
    for info, data in list(members):
        folder, slash, name = info.name.rpartition("/")
        at = members.index((info, data))
        members.insert(at, member(f"{folder}{slash}._{name}", b"Mac OS X"))


def links(rng, members):
    """Links to files, to each other, to folders, and to nothing."""
    names = [info.name.lstrip("/") for info, _ in members]
    for number in range(rng.randrange(1, 4)):
        kind = rng.choice([tarfile.LNKTYPE, tarfile.SYMTYPE])
        target = rng.choice([*names, "cat", ".", "nothing", f"cat/link{3 - number}.jpg"])
        name = rng.choice(["link{}", "cat/link{}.jpg", "dog/link{}.jpg", names[0]]).format(number)
        members.insert(rng.randrange(len(members) + 1), member(name, kind=kind, target=target))


def _sparse(rng, members):
    """A file whose zeros are left out, as `tar --sparse` writes it, in two ways."""
    name = rng.choice(["cat/sparse.jpg", "README"])
    if rng.random() < 0.5:
        data = b"1\n0\n3\n".ljust(tarfile.BLOCKSIZE, b"\0") + b"abc"
        pax = {"major": "1", "minor": "0", "name": name, "realsize": str(rng.choice([3, 10**7]))}
        pax = {f"GNU.sparse.{key}": value for key, value in pax.items()}
        members.append(member("cat/GNUSparseFile.0/x", data, **pax))
    else:
        members.append(member(name, b"abc", tarfile.GNUTYPE_SPARSE))


def _twice(rng, members):
    """A member again, somewhere, perhaps with other bytes."""
    info, data = rng.choice(members)
    members.insert(rng.randrange(len(members)), member(info.name, rng.choice([data, b"again"])))


def _apart(rng, members):
    """The parts of samples are not neighbours."""
    rng.shuffle(members)


def _written(rng, members):
    style = rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
    blocks = []
    for info, data in members:
        usual = style if not info.pax_headers else tarfile.PAX_FORMAT
        try:
            head = info.tobuf(usual, "utf-8", "surrogateescape")
        except ValueError:  # a name longer than ustar has room for
            head = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        if info.type == tarfile.GNUTYPE_SPARSE:
            head = _with_map(head, info.size, rng.choice([3, 10**7]))
        blocks += [head, data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(blocks)


def _with_map(head, length, real):
    """The header of an old GNU sparse file: one piece of `length` bytes at its beginning."""
    block = bytearray(head[-tarfile.BLOCKSIZE :])
    block[386:410] = b"%011o\0%011o\0" % (0, length)
    block[483:495] = b"%011o\0" % real
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return head[: -tarfile.BLOCKSIZE] + bytes(block)


def _ended(rng, body, seed):
    """With two blocks of zeros, mostly filled up to a record of 10 KiB as programs do, or worse."""
    whole = body + bytes(2 * tarfile.BLOCKSIZE)
    filled = whole + bytes(-len(whole) % tarfile.RECORDSIZE)
    if rng.random() < 0.9:
        return rng.choice([whole, filled])
    more = foreign_tar(seed + 10**6) if seed < 10**6 else b"x"
    odd = [body, body + bytes(tarfile.BLOCKSIZE), filled[: rng.randrange(len(whole))]]
    pack = rng.choice([gzip.compress, bz2.compress, lzma.compress])
    return rng.choice([*odd, filled + more, whole + b"x", pack(filled)])


def num_members(data):
    """Members of a tar but the folders."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return sum(not member.isdir() for member in tar)
