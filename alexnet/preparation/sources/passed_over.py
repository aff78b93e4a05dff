"""Files that are no images whatever their suffix: what systems and tools put beside people's."""

import re

_RULES = {
    "__MACOSX": r"__MACOSX",
    "@eaDir": r"@eaDir",
    ".ipynb_checkpoints": r"\.ipynb_checkpoints",
    ".DS_Store": r"\.DS_Store",
    "._*": r"\._[^/]*",
    "Thumbs.db": r"(?i:thumbs\.db|ehthumbs\.db)",
    "desktop.ini": r"(?i:desktop\.ini|picasa\.ini)|Icon\r",
    "system folder": r"\#recycle|\#snapshot|@Recycle|@Recently-Snapshot|~snapshot|lost\+found"
    r"|(?i:\$RECYCLE\.BIN)|System\ Volume\ Information",
    "hidden": r"\.[^/.][^/]*|\.\.[^/]+",
    "statistics of img2dataset": r"\d+_stats\.json",
}
"""Each rule's name, and what a folder or file that it passes over is called: archives' folders and
companions of macOS, thumbnails of Synology's and Windows' systems, copies that notebooks keep."""

_PATTERN = re.compile(
    "(?:^|/)(?:" + "|".join(f"(?P<r{i}>{each})" for i, each in enumerate(_RULES.values())) + ")"
    r"(?=/|\Z)"
)
_NAMES = {f"r{i}": name for i, name in enumerate(_RULES)}


def rule(name: str) -> tuple[str, str]:
    """The rule by which a file is passed over, and the folder around what the rule names.

    Args:
        name: with the folders that it lies in.

    Returns:
        Both empty if there is no such rule.
    """
    found = _PATTERN.search(name)
    return (_NAMES[found.lastgroup or ""], name[: found.start()]) if found else ("", "")
