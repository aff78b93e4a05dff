"""Preparing images, by this code and by another checkout of it, in turns.

    python tests/benchmarks/preparation.py IMAGES.tar OTHER_CHECKOUT

From the tar, from the folder that it unpacks to, and from the shards that were made, indexed where
they lie; in one process without Ray. Prints medians of its processor time, and whether both made
the same manifest.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def prepare(source, archive, target):
    """The digest of the data set; of shards in place if there is no target."""
    from alexnet.adapters.object_store import open_store
    from alexnet.preparation import existing_shards, job, new_shards, sources

    store = open_store(source)
    if target:
        to = open_store(target)
        listing = sources.open_source(store, archive)
        made = new_shards.job(to, store, listing, new_shards.Settings())
    else:
        to, made = store, existing_shards.job(store, 0.05, None, map)
    job.begin(to, made)
    for _ in job.make_parts(to, made, map):
        pass
    found = job.finish(to, made, 0.01)
    return found[0].digest


def measure(code, source, archive, target):
    """Processor seconds and the digest, in a process of its own."""
    command = [sys.executable, __file__, "--one", code, source, archive, target]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("other")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, target = Path(temporary) / "images", Path(temporary) / "new" / "set"
        with tarfile.open(args.images) as tar:
            tar.extractall(folder, filter="data")
        images = [str(args.images.parent.resolve()), args.images.name, str(target)]
        sources = {"tar": images, "folder": [str(folder), "", str(target)]}
        sources["shards in place"] = [str(target), "", ""]
        for name, source in sources.items():
            found = {str(ROOT): [], args.other: []}
            for _ in range(args.rounds):
                for code, each in found.items():
                    if source[2]:
                        shutil.rmtree(target.parent, ignore_errors=True)
                    else:  # the shards alone
                        for path in target.iterdir():
                            path.unlink() if path.suffix != ".tar" else None
                    target.mkdir(parents=True, exist_ok=True)
                    each.append(measure(code, *source))
            (here, there) = found.values()
            one, other = (statistics.median(each[0] for each in both) for both in (here, there))
            same = {each[1] for each in here} == {each[1] for each in there}
            print(
                f"{name:<16} {one:6.2f} s, the other {other:6.2f} s; {one / other - 1:+.1%}", end=""
            )
            print("; the same manifest" if same else "; another manifest", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.path[0] = sys.argv[2]
        digest = prepare(*sys.argv[3:])
        print(json.dumps([time.process_time(), digest]))
    else:
        main()
