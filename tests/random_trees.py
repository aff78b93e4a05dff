r"""Random trees of files as people's data sets are, and worse; the same for the same number.

The bytes of an image say where it belongs, as its path was planned and not as it is read:
`SPLIT CLASS NUMBER`, the split `never` where it must not be used.
"""

import os
import random
import socket
from contextlib import closing
from pathlib import Path

SPLITS = {
    "train": ("train", "Train", "training", "TRAINING"),
    "val": ("val", "Val", "valid", "validation", "dev"),
    "test": ("test", "Test", "testing"),
}
CLASSES = ("cat", "Cat", "dog", "n01440764", "a b", "test", "dev", "images", "ca\\t", "x" * 200)
ODD = (b"caf\xe9", b"caf\\xe9", "café".encode(), b"new\nline", b'"quo\'te"', b"-rf", b"\xff\xfe")
SUFFIXES = (".jpg", ".JPEG", ".Png", ".jpe", ".jfif", ".webp", ".tif", ".GIF", ".bmp", ".cr2")
OTHERS = ("notes.txt", "list.csv", "noname", "x.jpg.bak", "boxes.XML", "model.pt")
HIDDEN = (
    ".DS_Store",
    "._{}.jpg",
    "Thumbs.db",
    ".hidden.jpg",
    "@eaDir/{}.jpg",
    "__MACOSX/{}.jpg",
    ".ipynb_checkpoints/{}.jpg",
    ".git/objects/{}.jpg",
    "00000_stats.json",
)


class Tree:
    """A random tree below a new folder."""

    def __init__(self, folder: Path, number: int) -> None:
        self._random = random.Random(number)
        self._count = 0
        self.root = folder / "source"
        self.outside = folder / "elsewhere"
        self.images: set[bytes] = set()
        """Bytes of those that must be used."""
        self.lost: list[Path] = []
        """Folders of classes without an image."""
        self.root.mkdir(parents=True)
        self._fill()

    def _fill(self) -> None:
        around = self._random.choice(["", "", "", "data", "data/set", "home//"])
        inner = self._random.choice(["", "", "", "images", "JPEG/large"])
        base = self.root / around
        splits = self._random.choice(
            [("",), ("train",), ("train", "val"), ("train", "val", "test")]
        )
        classes = [os.fsencode(each) for each in self._random.sample(CLASSES, 2)]
        classes += self._random.sample(ODD, self._random.choice([0, 0, 1, 2]))
        for split in splits:
            folder = base / self._random.choice(SPLITS.get(split, ("",)))
            if split == "val" and self._maybe(0.1):
                (folder / "cat").mkdir(parents=True)
                (folder / "cat" / "1.raw").write_bytes(b"other")
                self.lost.append(folder)
                continue
            for name in classes:
                self._class(folder, split, name, inner)
        if self._maybe(0.1):
            self._image(
                base / self._random.choice(["extra", "Tests2", "pics"]) / "cat", "never", b""
            )
        if "train" in splits and self._maybe(0.05):
            self._image(base / "trainING" / "cat", "never", b"")
        for _ in range(self._random.randrange(3)):
            self._odd_thing(self._random.choice(self._folders()))

    def _class(self, folder: Path, split: str, name: bytes, inner: str) -> None:
        path = folder / os.fsdecode(name)
        if self._maybe(0.1):  # elsewhere, and a link to it
            self.outside.mkdir(exist_ok=True)
            real = self.outside / f"{split}{len(list(self.outside.iterdir()))}"
            real.mkdir()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(real if self._maybe(0.5) else os.path.relpath(real, path.parent))
        if self._maybe(0.05):
            path.mkdir(parents=True, exist_ok=True)
            if self._maybe(0.5):
                (path / ".DS_Store").write_bytes(b"")
            if split != "test":
                self.lost.append(path)
            return
        for _ in range(self._random.randint(1, 3)):
            self._image(path / inner, split, name)
        if self._maybe(0.2):
            (path / inner / self._random.choice(OTHERS)).write_bytes(b"other")

    def _image(self, folder: Path, split: str, label: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = b"%d" % self._next() if self._maybe(0.9) else self._random.choice(ODD)
        name += self._random.choice(SUFFIXES).encode()
        data = b"%s %s %d" % (split.encode(), label.hex().encode(), self._next())
        path = folder / os.fsdecode(name)
        if path.exists():
            return
        if self._maybe(0.05):
            self.outside.mkdir(exist_ok=True)
            target = self.outside / f"file{self._next()}"
            target.write_bytes(data)
            (path.symlink_to if self._maybe(0.5) else path.hardlink_to)(target)
        else:
            path.write_bytes(data)
        if split not in ("test", "never"):
            self.images.add(data)

    def _odd_thing(self, folder: Path) -> None:
        number = self._next()
        kind = self._random.randrange(10)
        path = folder / f"odd{number}{self._random.choice(['', '.jpg', '.txt'])}"
        if kind == 0:
            path.symlink_to("nowhere")
        elif kind == 1:
            path.symlink_to(path.name)
        elif kind == 2:
            path.symlink_to(
                self._random.choice([self.root, folder, folder.parent, self.root.parent])
            )
        elif kind == 3:
            path.symlink_to(self._random.choice(self._folders()))
        elif kind == 4:
            os.mkfifo(path)
        elif kind == 5 and len(os.fsencode(path)) < 100:
            with closing(socket.socket(socket.AF_UNIX)) as made:
                made.bind(str(path))
        elif kind == 6:
            (folder / f"more{number}.{self._random.choice(['zip', 'tar', 'tar.gz'])}").write_bytes(
                b""
            )
        else:
            path = folder / self._random.choice(HIDDEN).format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"never  0")

    def _folders(self) -> list[Path]:
        """That are no links, nor below one."""
        return [Path(folder) for folder, _, _ in os.walk(self.root)]

    def _maybe(self, share: float) -> bool:
        return self._random.random() < share

    def _next(self) -> int:
        self._count += 1
        return self._count
