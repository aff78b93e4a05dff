"""Whatever lies in a folder: it is refused in one line, or each file is accounted for."""

import os
import shutil
import tarfile
import tempfile
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset.sample_names import printable
from alexnet.errors import AlexNetError
from alexnet.preparation import sources
from alexnet.preparation.account import count
from alexnet.preparation.sources.listing import Listing, read
from alexnet.storage.store import Store
from tests.random_trees import Tree

TREES = 1000


def number_of_files(root: Path) -> int:
    """Files and links below a folder, counted apart from the code that is tested.

    A link to a folder counts where it is not followed: because it leads back to a folder that it
    lies in, or to a folder that is entered otherwise. Each folder is entered once.
    """
    others = entered = 0
    seen, todo = {root.resolve()}, [root.resolve()]
    while todo:
        folder = todo.pop()
        for entry in os.scandir(folder):
            path = Path(entry.path)
            target = path.resolve() if path.is_dir() else None
            if not target or (entry.is_symlink() and folder.is_relative_to(target)):
                others += 1
            else:
                entered += 1
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
    return others + entered - (len(seen) - 1)


def listed_or_refused(store: Store, archive: str = "") -> Listing | AlexNetError:
    try:
        return sources.open_source(store, archive)
    except AlexNetError as error:
        return error


def described(found: Listing | AlexNetError) -> object:
    """What is the same for a folder and a tar of it."""
    if isinstance(found, AlexNetError):
        return None
    entries = [found.entry(number) for number in range(len(found))]
    images = [(entry.name, entry.split, entry.label) for entry in entries]
    rules = {rule: kind.count for rule, kind in found.account.passed_over.items()}
    return found.classes, images, found.account.found, rules, len(found.suspicions)


def check(tree: Tree) -> str:
    """Hold a listing to what was planned; what became of it."""
    store = open_store(str(tree.root))
    listing = listed_or_refused(store)
    if isinstance(listing, AlexNetError):
        assert "\n" not in str(listing)
        return "refused"
    if len(listing.classes) == 1:
        return "one class"
    account = listing.account
    others = count(account.passed_over) + count(account.not_images)
    assert account.found == number_of_files(tree.root)
    assert account.found == len(listing) + len(listing.rejects) + others
    used, folders = [], {}
    for entry in map(listing.entry, range(len(listing))):
        data = read(store, entry)
        split, label, _ = data.split(b" ")
        assert entry.split in ("", split.decode())
        name = os.fsdecode(bytes.fromhex(label.decode()))
        assert listing.classes[entry.label] == printable(folders.setdefault(entry.label, name))
        assert folders[entry.label] == name
        used.append(data)
    assert Counter(used) == Counter(tree.images)
    kinds = {each.kind for each in listing.suspicions}
    assert all("\n" not in each.message for each in listing.suspicions)
    if tree.lost:
        assert "empty-class" in kinds
    return "suspected" if kinds else "listed"


@pytest.fixture
def in_memory():
    """A folder in memory, where the machine has one: a thousand trees are 30,000 files."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_each_file_of_a_thousand_trees_is_accounted_for_or_the_tree_is_refused(in_memory):
    ends = Counter()
    for number in range(TREES):
        try:
            ends[check(Tree(in_memory / str(number), number))] += 1
        except Exception as error:
            error.add_note(f"tree {number}")
            raise
        shutil.rmtree(in_memory / str(number))
    assert min(ends["listed"], ends["suspected"], ends["refused"]) > TREES / 20, ends


def test_a_tar_of_a_tree_without_links_is_listed_as_the_tree(in_memory):
    compared = 0
    for number in range(TREES // 5):
        tree = Tree(in_memory / str(number), number)
        paths = [
            Path(place) / name for place, *names in os.walk(tree.root) for name in chain(*names)
        ]
        if any(path.is_symlink() or path.is_socket() for path in paths):
            continue
        with tarfile.open(in_memory / "tree.tar", "w") as tar:
            tar.add(tree.root, "tree")
        folder = listed_or_refused(open_store(str(tree.root)))
        archive = listed_or_refused(open_store(str(in_memory)), "tree.tar")
        assert described(folder) == described(archive)
        compared += isinstance(folder, Listing)
    assert compared > TREES / 50
