"""One named seed for each random draw, so that no generator state is ever saved."""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) that depends on `seed` and the names alone, on every machine.

    BLAKE2b is used as a mixing function: neighbouring steps or samples give unrelated seeds.
    """
    text = "/".join(str(name) for name in (seed, *names))
    data = text.encode("utf-8", "surrogateescape")  # names of files are any bytes
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest()) >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator for one named draw.

    Philox takes its key directly, which makes it several times cheaper to build than PCG64: one is
    made for every image.
    """
    return np.random.Generator(np.random.Philox(key=derive(seed, *names)))
