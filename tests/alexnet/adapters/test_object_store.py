"""Both stores keep files the same way, survive what passes, and say in one line what does not."""

import multiprocessing
import os
import pickle
import random
import resource
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet.adapters.object_store import open_store, s3_client
from alexnet.adapters.object_store.s3 import DEADLINE_S, PART_BYTES, scanned
from alexnet.adapters.object_store.s3_client import SILENCE_S
from alexnet.errors import StoreError
from alexnet.storage.store import (
    EMPTY,
    FOLDER_NAME,
    LISTED,
    LOOP,
    NO_TARGET,
    ODD_NAME,
    Found,
)
from tests.alexnet.adapters.faulty_proxy import THROTTLED, faulty_proxy
from tests.s3_proxy import unconditional

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path):
    if request.param == "local":
        return open_store(str(tmp_path / "new" / "folder"))
    request.getfixturevalue("s3_env")
    return open_store(request.getfixturevalue("bucket_url"))


@pytest.fixture
def s3_store(s3_env, bucket_url):
    return open_store(bucket_url)


@pytest.fixture
def use_endpoint(monkeypatch):
    def use(url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3_client.forget_client()

    return use


@pytest.fixture
def impatient(monkeypatch):
    """Stores that are opened after this give up after a second, and after one of silence."""
    monkeypatch.setattr("alexnet.adapters.object_store.s3_client.SILENCE_S", 1.0)
    monkeypatch.setattr("alexnet.adapters.object_store.s3.DEADLINE_S", 1.0)


def noise(size):
    return random.Random(0).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_file_has_its_size(store, size):
    store.write("file", bytes(size))
    assert store.num_bytes("file") == size
    with pytest.raises(StoreError, match="absent"):
        store.num_bytes("absent")


def test_a_file_written_anew_has_another_version(store):
    store.write("file", b"one")
    before = store.version("file")
    assert store.version("file") == before
    store.write("file", b"two")
    assert store.version("file") != before
    with pytest.raises(StoreError, match="absent"):
        store.version("absent")


def test_what_was_deleted_is_gone_and_may_be_deleted_again(store):
    store.write("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert store.list() == []


def test_what_was_written_is_read_back(store):
    store.write("deep/name.bin", b"abc")
    assert store.read("deep/name.bin") == b"abc"
    assert store.exists("deep/name.bin")


def test_an_empty_file_exists_and_reads_as_nothing(store):
    store.write("empty", b"")
    assert store.exists("empty")
    assert store.read("empty") == b""


def test_an_uploaded_file_larger_than_three_parts_is_read_back(store, tmp_path):
    data = noise(3 * PART_BYTES + 1)
    (tmp_path / "source").write_bytes(data)
    store.upload(tmp_path / "source", "large")
    assert store.read("large") == data
    assert (
        store.read("large", PART_BYTES - 5, PART_BYTES + 10)
        == data[PART_BYTES - 5 :][: PART_BYTES + 10]
    )


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 3, b"012"),
        (4, 2, b"45"),
        (7, 3, b"789"),
        (7, None, b"789"),
        (10, None, b""),
        (3, 0, b""),
    ],
)
def test_a_range_is_read_exactly(store, offset, length, expected):
    store.write("digits", b"0123456789")
    assert store.read("digits", offset, length) == expected


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (9, 2), (10, 1), (50, 1)])
def test_a_range_beyond_the_end_is_refused(store, offset, length):
    store.write("digits", b"0123456789")
    with pytest.raises(
        StoreError, match=rf"/digits: ends before byte {offset + length}, .*Restore"
    ):
        store.read("digits", offset, length)


def test_a_missing_file_is_named_with_its_url(store):
    store.write("other", b"")
    assert not store.exists("missing")
    with pytest.raises(StoreError, match=rf"^{store.url}/missing: no such .*prepare the data\.$"):
        store.read("missing")


def test_a_missing_folder_has_no_files(store):
    assert store.list() == []
    assert not store.exists("anything")


def test_all_files_are_listed_in_order(store):
    for name in ("b", "a/c", "a/b"):
        store.write(name, b"")
    assert store.list() == ["a/b", "a/c", "b"]


def test_a_reader_sees_the_old_file_or_the_new_one(store):
    size = 2**20
    store.write("file", bytes(size))
    with ThreadPoolExecutor() as pool:
        writes = [pool.submit(store.write, "file", bytes([n]) * size) for n in range(1, 6)]
        while not all(write.done() for write in writes):
            assert len(set(store.read("file"))) == 1


def test_a_store_is_small_when_pickled_and_works_after_it(store):
    store.write("file", b"abc")
    pickled = pickle.dumps(store)
    assert len(pickled) < 400
    assert pickle.loads(pickled).read("file") == b"abc"


def test_a_store_works_in_a_forked_process(store):
    store.write("file", b"abc")
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(store.read, ("file",)) == b"abc"


def test_the_write_check_leaves_nothing_behind(store):
    store.check_writable()
    assert store.list() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "./a", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(store, name):
    for use in (store.read, store.exists, lambda each: store.write(each, b"")):
        with pytest.raises(StoreError, match=r"is not a name inside a store\. Prepare"):
            use(name)


def test_a_whole_path_is_no_name_in_a_folder(tmp_path):
    with pytest.raises(StoreError, match="'/etc/passwd' is not a name inside a store"):
        open_store(str(tmp_path)).read("/etc/passwd")


@pytest.mark.parametrize(
    "url", ["gs://bucket/x", "http://host/x", "file:///x", "s3://", "s3:///x", "s3:/bucket/x"]
)
def test_other_schemes_are_refused(url):
    with pytest.raises(StoreError, match=rf"^{url}: must be a local path or s3://bucket/prefix"):
        open_store(url)


def test_an_empty_url_is_refused():
    with pytest.raises(StoreError, match="names no place"):
        open_store("")


def test_urls_are_absolute_and_without_a_last_slash(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert open_store("data/x/").url == str(tmp_path / "data" / "x")
    assert open_store("~/x").url == "/home/someone/x"
    assert open_store("s3://bucket/a/b/").url == "s3://bucket/a/b"
    assert open_store("s3://bucket").url == "s3://bucket"


def test_a_user_without_a_home_is_named():
    with pytest.raises(StoreError, match="~nobody-of-that-name/x: no such home directory"):
        open_store("~nobody-of-that-name/x")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    store = open_store(str(tmp_path / "file"))
    for use in (store.check_writable, store.list, lambda: store.read("x")):
        with pytest.raises(StoreError, match=r"is a file, not a folder\. Name another path"):
            use()


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(StoreError, match="/x: is a folder, a file is needed"):
        open_store(str(tmp_path)).read("x")


def test_a_local_file_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)  # root may write everywhere
    with pytest.raises(StoreError, match=r"permission denied\. Change its owner or mode"):
        open_store(str(tmp_path)).check_writable()


def test_a_full_disk_is_named_and_the_half_written_file_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda path, data: fill_up(path))
    with pytest.raises(StoreError, match=r"/new: no space left on the disk\. Free some"):
        open_store(str(tmp_path)).write("new", b"x")
    assert list(tmp_path.iterdir()) == []


def fill_up(path):
    path.touch()
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def write_over_the_limit(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    store = open_store(folder)
    store.write("file", b"old")
    try:
        store.write("file", bytes(2**20))
    except StoreError as error:
        return str(error), store.read("file"), store.list(), len(list(Path(folder).iterdir()))
    return None


def test_a_write_that_breaks_half_way_keeps_the_old_file_and_no_other(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        message, data, names, entries = pool.apply(write_over_the_limit, (str(tmp_path),))
    assert "larger than a file may be" in message
    assert (data, names, entries) == (b"old", ["file"], 1)


def test_a_local_file_to_upload_that_is_missing_is_named(store, tmp_path):
    with pytest.raises(StoreError, match="absent: no such file"):
        store.upload(tmp_path / "absent", "name")


@pytest.mark.slow
def test_a_body_cut_three_times_is_read_on_where_it_broke(s3_store, s3, use_endpoint):
    data = noise(2 * PART_BYTES)
    s3_store.write("large", data)
    with faulty_proxy(s3.endpoint, faults=3, cut_after_bytes=3 * 2**20) as proxy:
        use_endpoint(proxy.url)
        assert s3_store.read("large") == data


@pytest.mark.slow
def test_a_read_does_not_join_two_objects(s3_store, s3, use_endpoint, monkeypatch):
    s3_store.write("large", noise(PART_BYTES))

    def replace(seconds):
        use_endpoint(s3.endpoint)
        s3_store.write("large", bytes(PART_BYTES))

    with faulty_proxy(s3.endpoint, faults=1, cut_after_bytes=2**20) as proxy:
        use_endpoint(proxy.url)
        monkeypatch.setattr(time, "sleep", replace)
        with pytest.raises(StoreError, match="/large: replaced while it was read"):
            s3_store.read("large")


@pytest.mark.slow
def test_throttling_that_passes_is_waited_out(s3_store, s3, use_endpoint):
    with faulty_proxy(s3.endpoint, faults=4, answer=THROTTLED) as proxy:
        use_endpoint(proxy.url)
        s3_store.write("file", b"abc")
        assert s3_store.read("file") == b"abc"


@pytest.mark.slow
def test_throttling_that_lasts_is_named(impatient, s3_store, s3, use_endpoint):
    with faulty_proxy(s3.endpoint, faults=1000, answer=THROTTLED) as proxy:
        use_endpoint(proxy.url)
        with pytest.raises(StoreError, match=r"answers SlowDown, over and over\. Try later"):
            s3_store.read("file")


@pytest.mark.slow
@pytest.mark.parametrize("use", ["read", "write", "list", "exists", "check_writable", "upload"])
def test_an_endpoint_that_refuses_connections_is_named(
    impatient, s3_store, use_endpoint, tmp_path, use
):
    (tmp_path / "file").write_bytes(b"x")
    args = {
        "list": [],
        "check_writable": [],
        "write": ["x", b""],
        "upload": [tmp_path / "file", "x"],
    }
    use_endpoint(NOWHERE)
    with pytest.raises(StoreError, match=f"{NOWHERE} does not answer.*AWS_ENDPOINT_URL"):
        getattr(s3_store, use)(*args.get(use, ["x"]))


@pytest.mark.slow
def test_an_address_that_leads_nowhere_is_named(impatient, s3_store, use_endpoint, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    use_endpoint("http://192.0.2.1:9000")  # reserved for documentation: RFC 5737
    with pytest.raises(StoreError, match="http://192.0.2.1:9000 does not answer"):
        s3_store.read("x")


@pytest.mark.slow
@pytest.mark.parametrize("use", ["read", "upload"])
def test_a_server_that_is_silent_is_named(impatient, s3_store, s3, use_endpoint, tmp_path, use):
    (tmp_path / "file").write_bytes(b"x")
    with faulty_proxy(s3.endpoint, faults=1000) as proxy:
        use_endpoint(proxy.url)
        with pytest.raises(StoreError, match=f"{proxy.url} does not answer"):
            getattr(s3_store, use)(*{"read": ["x"], "upload": [tmp_path / "file", "x"]}[use])


def test_a_server_that_is_away_is_named_within_30_seconds():
    assert DEADLINE_S + SILENCE_S < 30


@pytest.mark.slow
def test_a_server_that_is_not_s3_is_named(s3_store, s3, use_endpoint):
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n<html>hi</html"
    with faulty_proxy(s3.endpoint, faults=1000, answer=page) as proxy:
        use_endpoint(proxy.url)
        with pytest.raises(StoreError, match=f"{proxy.url} answers, but not as S3"):
            s3_store.read("x")


@pytest.mark.slow
def test_an_endpoint_that_is_no_url_is_named(s3_store, use_endpoint):
    use_endpoint("127.0.0.1:9000")
    with pytest.raises(StoreError, match=r"127.0.0.1:9000: not the URL of a server\. Correct AWS_"):
        s3_store.read("x")


@pytest.mark.slow
@pytest.mark.parametrize("use", ["read", "exists", "list", "check_writable"])
@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", r"the secret is not this access key's\. Set AWS_ACCESS_KEY_ID"),
        ("AWS_ACCESS_KEY_ID", r"does not know this access key\. Set AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_wrong_credential_is_named_but_not_shown(s3_store, monkeypatch, use, variable, message):
    monkeypatch.setenv(variable, "0123wrong")
    s3_client.forget_client()
    with pytest.raises(StoreError, match=message) as caught:
        getattr(s3_store, use)(*(["x"] if use in ("read", "exists") else []))
    shown = "".join(traceback.format_exception(caught.value))
    assert "0123wrong" not in str(caught.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in shown


@pytest.mark.slow
def test_missing_credentials_are_named(s3_store, monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3_client.forget_client()
    with pytest.raises(StoreError, match=r"no complete AWS credentials found\. Set AWS_ACCESS_KEY"):
        s3_store.read("x")


@pytest.mark.slow
@pytest.mark.parametrize("use", ["read", "exists", "list", "check_writable"])
def test_a_missing_bucket_is_named(s3_env, use):
    store = open_store("s3://no-such-bucket/x")
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/x.*: no such bucket\. Create it"):
        getattr(store, use)(*(["x"] if use in ("read", "exists") else []))


@pytest.mark.slow
def test_an_identity_that_may_only_read_reads_but_cannot_write(s3_store, request, tmp_path):
    s3_store.write("file", b"abc")
    (tmp_path / "file").write_bytes(b"x")
    request.getfixturevalue("as_reader")
    assert s3_store.read("file") == b"abc"
    assert s3_store.list() == ["file"]
    writes = (s3_store.check_writable, lambda: s3_store.upload(tmp_path / "file", "x"))
    for write in writes:
        with pytest.raises(StoreError, match=r"access denied to this identity\. Grant it"):
            write()


def test_folders_that_consoles_make_in_a_bucket_are_listed_if_they_are_empty(s3_store):
    keys = {"train/cat/1.jpg": b"a", "train/cat/": b"", "train/owl/": b"", "": b""}
    for key, data in keys.items():
        place = {"Bucket": s3_store.bucket, "Key": f"{s3_store.prefix}/{key}"}
        s3_client.client().put_object(**place, Body=data)
    found = [found._replace(version="") for found in s3_store.scan()]
    assert found == [Found("train/cat/1.jpg"), Found("train/owl", EMPTY)]
    assert s3_store.list() == ["train/cat/1.jpg"]


def test_an_odd_key_of_a_bucket_is_listed_as_it_is_or_named():
    """Keys are no paths, and S3 itself keeps any; the server of these tests tidies them up."""
    keys = ["/a", "a\\b", "a//b", "c/", "c//", "d/./e", "d/../e", "f/", "f/g"]
    sizes = dict.fromkeys(keys, 0) | {"h.jpg/": 7, "": 9}
    assert list(scanned({key: (size, "") for key, size in sizes.items()})) == [
        Found("/", FOLDER_NAME),
        Found("/a"),
        Found("a//b"),
        Found("a\\b"),
        Found("c", EMPTY),
        Found("d/../e", ODD_NAME),
        Found("d/./e", ODD_NAME),
        Found("f/g"),
        Found("h.jpg/", FOLDER_NAME),
    ]


def test_links_are_followed_once_and_not_in_a_circle(tmp_path):
    for folder in ("source/cat", "elsewhere/owl", "source/empty"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "elsewhere" / "owl" / "1.jpg").write_bytes(b"a")
    links = {
        "owl": tmp_path / "elsewhere" / "owl",
        "owl2": tmp_path / "elsewhere" / "owl",
        "file.jpg": "owl/1.jpg",
        "gone": "nowhere",
        "itself": "itself",
        "cat/up": "..",
        "cat/top": tmp_path,
    }
    for name, target in links.items():
        (tmp_path / "source" / name).symlink_to(target)
    found = open_store(str(tmp_path / "source")).scan()
    assert [each._replace(version="") for each in found] == [
        Found("cat/top", LOOP),
        Found("cat/up", LOOP),
        Found("empty", EMPTY),
        Found("file.jpg"),
        Found("gone", NO_TARGET),
        Found("itself", NO_TARGET),
        Found("owl/1.jpg"),
        Found("owl2", LISTED),
    ]


def test_conditions_hold_and_trying_them_leaves_nothing(store):
    assert store.unmet_conditions() == ()
    assert store.list() == []


UNMET = {
    "a write only where nothing is": ("PUT", "If-None-Match"),
    "a write only over a known version": ("PUT", "If-Match"),
    "a read of a known version only": ("GET", "If-Match"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"), [("ignore", "ignored"), ("refuse", "refused as NotImplemented")]
)
@pytest.mark.parametrize("condition", UNMET)
def test_a_server_without_one_of_the_conditions_is_found(
    s3_store, s3, use_endpoint, condition, how, said
):
    method, header = UNMET[condition]
    with unconditional(s3, how, (method,), (header,)) as url:
        use_endpoint(url)
        (found,) = s3_store.unmet_conditions()
        assert found.condition == f"{condition} ({method} with {header})"
        assert found.how == f"{said} by {url}"
        assert bool(found.lost) == (header == "If-None-Match" or (method, how) == ("GET", "refuse"))
        assert s3_store.list() == []


@pytest.mark.slow
def test_a_file_that_was_replaced_is_noticed_though_the_server_ignores_if_match(
    s3_store, s3, use_endpoint
):
    s3_store.write("file", b"one")
    file = s3_store.open("file", num_bytes=3, sha256=bytes(32))
    with unconditional(s3, "ignore", ("GET",)) as url:
        use_endpoint(url)
        assert file.read(0, 1) == b"o"
        s3_store.write("file", b"two")
        with pytest.raises(StoreError, match="replaced while it was read"):
            file.read(1, 1)


@pytest.mark.slow
def test_a_server_that_refuses_conditions_is_named_where_one_is_needed(s3_store, s3, use_endpoint):
    with unconditional(s3, "refuse") as url:
        use_endpoint(url)
        with pytest.raises(StoreError, match=rf"{url} refuses If-None-Match \(NotImplemented\)"):
            s3_store.create("lease.json", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(StoreError, match="closed: permission denied"):
        open_store(str(tmp_path)).scan()
