"""Archives in memory and folders of files, as image sources have them."""

import io
import tarfile

from hypothesis import strategies as st

from alexnet.adapters.object_store import open_store


class Memory:
    """One file in memory, as a store."""

    url = "memory"

    def __init__(self, data):
        self.data = data

    def num_bytes(self, name):
        return len(self.data)

    def version(self, name):
        return "1"

    def write(self, name, data):
        """What is written is not kept."""

    def read(self, name, offset=0, length=None):
        assert length is None or offset + length <= len(self.data)
        return self.data[offset:][:length]


def tar_of(files, style=tarfile.GNU_FORMAT):
    """A tar of (name, data) pairs."""
    return tar_of_members(*(member(name, data) for name, data in files), style=style)


def tar_of_members(*members, style=tarfile.GNU_FORMAT):
    """A tar of members as `member` makes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=style) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name, data=b"", kind=tarfile.REGTYPE, target="", **pax):
    """A member of a tar, and its content."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.pax_headers = len(data), kind, target, pax
    return info, data


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cs"]),
    min_size=1,
    max_size=150,
)
archives = st.lists(st.tuples(names, st.binary(max_size=1200)), max_size=8)


def write(folder, files):
    """Files by name, below a folder; its store."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return open_store(str(folder))
