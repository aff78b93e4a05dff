"""What img2dataset writes as single files: its folders are parts of a download, and no classes.

Its tars (`--output_format webdataset`) are WebDataset shards like any other.
"""

import re
from collections.abc import Iterable

from alexnet.errors import DataError
from alexnet.preparation.sources.listing import Entry

_METADATA = re.compile(r"(?:.*/)?(\d{5,})/\1\d{4,}\.json", re.DOTALL)
"""Such as `00000/000000012.json`, beside `000000012.jpg`."""


def refuse(where: str, files: Iterable[Entry]) -> None:
    """Refuse files of img2dataset.

    Raises:
        DataError: they are.
    """
    if any(_METADATA.fullmatch(entry.name) for entry in files):
        raise DataError(
            f"{where}: files that img2dataset wrote, in folders that are no classes. Let it write "
            "--output_format webdataset, with each image's class as the column `label` in "
            "--save_additional_columns, and name that folder without a destination."
        )
