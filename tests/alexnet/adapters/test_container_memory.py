"""The memory that is left is that of the narrowest limit, in files as the kernel writes them."""

import pytest

from alexnet.adapters import container_memory

MIB = 2**20
NO_LIMIT_1 = 9223372036854771712  # version 1 has a number for it


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def group(folder, limit, used, cache):
    """Of version 2."""
    stat = f"anon {used - cache}\nfile {cache}\ninactive_anon 0\ninactive_file {cache}"
    folder = f"sys/fs/cgroup/{folder}".rstrip("/")
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.current": used,
        f"{folder}/memory.stat": stat,
    }


def group_1(folder, limit, used, cache):
    folder = f"sys/fs/cgroup/memory/{folder}".rstrip("/")
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": used,
        f"{folder}/memory.stat": f"cache {cache}\ninactive_file 1\ntotal_inactive_file {cache}",
    }


OWN = {"proc/self/cgroup": "0::/"}
NESTED = {"proc/self/cgroup": "0::/kubepods.slice/pod1.slice/c.scope"}
OWN_1 = {"proc/self/cgroup": "11:cpu,cpuacct:/\n4:memory:/docker/f00\n0::/"}


@pytest.mark.parametrize(
    ("files", "left_mib"),
    [
        ({}, None),
        (OWN, None),  # the topmost group of a machine has no limit
        (OWN | group("", "max", 5 * MIB, 0), None),
        (OWN | group("", 100 * MIB, 70 * MIB, 20 * MIB), 50),
        (OWN | group("", 100 * MIB, 170 * MIB, 0), 0),
        (
            NESTED
            | group("kubepods.slice", 400 * MIB, 100 * MIB, 0)
            | group("kubepods.slice/pod1.slice", 100 * MIB, 90 * MIB, 30 * MIB)
            | group("kubepods.slice/pod1.slice/c.scope", "max", 60 * MIB, 0),
            40,
        ),
        (NESTED | group("", 100 * MIB, 0, 0), 100),  # sees its own group as the top
        (OWN_1 | group_1("docker/f00", 100 * MIB, 60 * MIB, 10 * MIB), 50),
        (OWN_1 | group_1("", 100 * MIB, 60 * MIB, 10 * MIB), 50),
        (
            OWN_1
            | group_1("docker", 100 * MIB, 60 * MIB, 0)
            | group_1("docker/f00", NO_LIMIT_1, 60 * MIB, 0),
            40,
        ),
    ],
)
def test_the_least_that_is_left_of_any_limit_counts(tmp_path, files, left_mib):
    found = container_memory.free_bytes(tree(tmp_path, files))
    assert found == (None if left_mib is None else left_mib * MIB)


def test_it_reads_what_this_kernel_writes():
    found = container_memory.free_bytes()
    assert found is None or found >= 0
