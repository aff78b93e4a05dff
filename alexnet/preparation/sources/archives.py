"""Archives that are not read as they are, and what to do with them."""

import re

from alexnet.errors import DataError

_COMPRESSED_TAR = re.compile(
    r".*\.(?:tar\.(?:gz|bz2?|xz|zstd?|lz4|lz|lzma|lzo|z|br|sz)|tgz|tbz2?|txz|tlz|tzst|taz)",
    re.IGNORECASE | re.DOTALL,
)
"""Not `.tar.md5`, `.tar.json` and the like, which lie beside tars that are not compressed."""
_OTHER = re.compile(r".*\.(?:zip|7z|rar)", re.IGNORECASE | re.DOTALL)


def is_archive(name: str) -> bool:
    """Whether a file holds others, by its name; an uncompressed tar is one too."""
    return name.lower().endswith(".tar") or bool(_advice(name))


def refuse_compressed(where: str, *names: str) -> None:
    """Refuse what is not read as it is.

    Args:
        where: what messages call the file, or the folder that holds the files.
        names: of files.

    Raises:
        DataError: one of them is a compressed archive.
    """
    for name in names:
        advice = _advice(name)
        if advice:
            place = where if where.endswith(name) else f"{where}/{name}"
            raise DataError(f"{place}: {advice}")


def _advice(name: str) -> str:
    if _COMPRESSED_TAR.fullmatch(name):
        return "a compressed tar. Decompress it first, for its images are read where they lie."
    if _OTHER.fullmatch(name):
        return "not a tar. Unpack it, and name the folder."
    return ""
