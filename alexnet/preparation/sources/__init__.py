"""Where images come from: the archives and folders that people have, listed without unpacking."""

from pathlib import PurePosixPath

from alexnet.errors import DataError
from alexnet.preparation.sources import ilsvrc, image_folder, kaggle
from alexnet.preparation.sources.image_folder import is_image
from alexnet.preparation.sources.listing import Entry, Listing, Spread
from alexnet.preparation.sources.tar_scan import members
from alexnet.storage.store import Store


def open_source(store: Store, archive: str = "", spread: Spread = map) -> Listing:
    """List the images of a folder, or of a tar in it.

    Args:
        store: the folder.
        archive: file name of the tar in it; empty for the folder itself.
        spread: as the builtin `map`, for archives that can be scanned side by side.

    Raises:
        StoreError: it cannot be read.
        DataError: nothing known is there, or it is broken.
    """
    if archive:
        where = f"{store.url}/{archive}"
        files = [Entry(m.name, "", 0, archive, m.offset, m.length) for m in members(store, archive)]
    else:
        where = store.url
        names = store.list()
        if ilsvrc.TRAIN in names:
            return ilsvrc.listing(store, spread)
        files = [Entry(name, "", 0, name) for name in names]
        if any(name.endswith(".tar") for name in names) and not any(map(is_image, names)):
            raise DataError(
                f"{where}: WebDataset shards are indexed where they lie. Leave out the destination."
            )
    if not files:
        raise DataError(f"{where}: nothing is here. Name a folder or tar of images.")
    if kaggle.fits(files):
        return kaggle.listing(where, store, files)
    if archive and all(PurePosixPath(entry.name).suffix == ".tar" for entry in files):
        raise DataError(
            f"{where}: a tar of tars. Name the folder that holds {ilsvrc.TRAIN} instead."
        )
    return image_folder.listing(where, files)
