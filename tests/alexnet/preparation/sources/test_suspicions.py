"""What looks like a mistake in a source ends its preparation, until it is mended or accepted."""

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import DataError
from alexnet.preparation import job, new_shards, sources
from alexnet.preparation.new_shards import Settings
from alexnet.preparation.sources import suspicions
from alexnet.preparation.sources.listing import SUSPICIONS

GOOD = "train/a/1.jpg train/b/2.jpg val/a/3.jpg val/b/4.jpg"


def job_of(folder):
    source = open_store(str(folder))
    return new_shards.job(
        open_store(f"{folder}-out"), source, sources.open_source(source), Settings()
    )


def check(folder, accepted=()):
    job.check_suspicions(job_of(folder), accepted)


def fill(folder, names):
    """Empty files by name; names that end in `/` are folders, and `A->B` is a link."""
    for each in names.split():
        name, arrow, target = each.partition("->")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        elif name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.write_bytes(b"")


def remove(folder, names):
    """What `fill` has made, and folders that are empty then."""
    for name in names.split():
        path = folder / name.partition("->")[0]
        while path.is_symlink() or path.is_file() or not any(path.iterdir()):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            path = path.parent


CASES = [
    ("empty-class", "train/c/", "train/c/ has no image, nothing"),
    ("empty-class", "val/c/", "val/c/ has no image, nothing"),
    ("empty-class", "train/c/1.raw", "train/c/ has no image, only train/c/1.raw"),
    ("empty-class", "train/c/._1.jpg", "train/c/ has no image, nothing"),
    ("empty-class", "train/c/.ipynb_checkpoints/1.jpg", "train/c/ has no image, nothing"),
    ("empty-class", "train/c/deep/1.txt", "train/c/ has no image, only train/c/deep/1.txt"),
    ("empty-class", "train/c->../gone", "train/c/ has no image, only train/c"),
    ("empty-class", "train/c/1.jpg->gone", "train/c/ has no image, only train/c/1.jpg"),
    ("empty-class", "train/c/5.jpg", "val/c/ has no image, nothing"),
    ("other-files", "train/a/1.xyz", r"1 files beside the 4 images .* \(.xyz 1\)"),
    ("other-files", "labels/1.xml", r"1 files beside the 4 images .* \(.xml 1\)"),
    ("alike-classes", "train/A/1.jpg val/A/1.jpg", "classes 'A' and 'a' look alike"),
    ("repeated-link", "train/c->a", "train/c is a link to a folder that is listed already"),
    ("repeated-link", "test->train", "test is a link to a folder that is listed already"),
    ("archive", "train.zip", "train.zip is an archive, and what is in it is not read"),
    ("archive", "train/a/more.tar", "train/a/more.tar is an archive"),
    ("archive", "more.tar.gz", "more.tar.gz is an archive"),
]


@pytest.mark.parametrize(("kind", "names", "message"), CASES)
def test_what_looks_like_a_mistake_is_named_and_can_be_accepted(tmp_path, kind, names, message):
    fill(tmp_path / "source", f"{GOOD} {names}")
    with pytest.raises(
        DataError, match=f"{message}.* if it is as it should be, add --accept {kind}"
    ):
        check(tmp_path / "source")
    kinds = {each.kind for each in job_of(tmp_path / "source").suspicions}
    check(tmp_path / "source", kinds)
    assert not (tmp_path / "source-out").exists()
    remove(tmp_path / "source", names)
    check(tmp_path / "source")


@pytest.mark.parametrize("names", [GOOD, f"{GOOD} notes.txt test/c/5.jpg test/c/6.x test/d/"])
def test_what_is_as_it_should_be_is_not_suspected(tmp_path, names):
    fill(tmp_path, names)
    check(tmp_path)


@pytest.mark.parametrize("name", ["val", "Validation"])
@pytest.mark.parametrize("what", ["/", "/a/", "/a/1.xyz", "->gone"])
def test_a_validation_split_without_images_is_named(tmp_path, name, what):
    """Else the images that validate would be taken from those to train on."""
    fill(tmp_path, f"train/a/1.jpg train/a/2.jpg train/b/1.jpg train/b/2.jpg {name}{what}")
    with pytest.raises(DataError, match=f"{name}/ has no image.*--accept empty-class"):
        check(tmp_path)


@pytest.mark.parametrize("name", ["test", "Val", "val2017", "Test_images", "eval", "my holdout"])
def test_a_class_that_is_called_like_a_split_is_named(tmp_path, name):
    """Else what was kept for a test would be trained on, as a class."""
    fill(tmp_path, "a/1.jpg a/2.jpg b/1.jpg b/2.jpg")
    check(tmp_path)
    (tmp_path / name).mkdir()
    fill(tmp_path / name, "1.jpg 2.jpg")
    with pytest.raises(DataError, match=f"'{name}' is called like .*--accept split-name"):
        check(tmp_path)
    check(tmp_path, ["split-name"])


def test_each_kind_that_can_be_accepted_is_tested():
    assert {kind for kind, *_ in CASES} | {"split-name"} == set(SUSPICIONS)


@pytest.mark.parametrize(
    "names",
    [
        "images/1.jpg images/2.jpg labels/1.txt",
        "a/images/1.jpg a/images/2.jpg",
        "train/x/1.jpg val/x/2.jpg",
    ],
)
def test_one_class_alone_is_refused_before_anything_is_written(tmp_path, names):
    fill(tmp_path / "source", names)
    with pytest.raises(DataError, match="all images are of one class, '(images|x)', and one class"):
        job_of(tmp_path / "source")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_source_with_many_links_to_nowhere_is_refused_before_anything_is_written(tmp_path):
    fill(tmp_path, f"{GOOD} train/a/9.jpg->nowhere")
    message = (
        "1 of 5 images cannot be used, .* 0.19: train/a/9.jpg, a link without its target. Mend"
    )
    with pytest.raises(DataError, match=message):
        job.check_rejects(job_of(tmp_path), 0.19)
    job.check_rejects(job_of(tmp_path), 0.2)
    (tmp_path / "train" / "a" / "9.jpg").unlink()
    job.check_rejects(job_of(tmp_path), 0)


def test_files_that_are_no_files_are_passed_over_or_rejected_by_name(tmp_path):
    fill(
        tmp_path,
        f"{GOOD} train/a/gone.jpg->nowhere train/a/in->.. Thumbs.db train/b/.DS_Store "
        "train/a/Desktop.ini",
    )
    listing = sources.open_source(open_store(str(tmp_path)))
    assert listing.rejects == (("train/a/gone.jpg", "a link without its target"),)
    assert {rule: kind.names for rule, kind in listing.account.passed_over.items()} == {
        "a link back to a folder around it": ("train/a/in",),
        "Thumbs.db": ("Thumbs.db",),
        ".DS_Store": ("train/b/.DS_Store",),
        "desktop.ini": ("train/a/Desktop.ini",),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dog", "dog"),
        ("golden retriever", "golden_retriever"),
        ("caf\u00e9", "cafe\u0301"),
        ("caf\u00e9", "cafe"),
        ("cat", "cat\u200b"),
        ("cat", "cat "),
        ("7", "007"),
    ],
)
def test_two_spellings_of_a_class_look_alike(one, other):
    assert [each.kind for each in suspicions.alike("x", [one, "horse", other])] == ["alike-classes"]
    assert not list(suspicions.alike("x", [one, "horse"]))
