"""Where images come from: the archives and folders that people have, listed without unpacking."""

from alexnet.errors import ConfigError, DataError
from alexnet.preparation.sources import archives, ilsvrc, image_folder, img2dataset, kaggle, shards
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.listing import Listing, Spread, contents, files_of, unpacked
from alexnet.preparation.sources.suffixes import is_image
from alexnet.preparation.sources.tar_scan import members
from alexnet.storage.store import Store


def open_source(
    store: Store, archive: str = "", spread: Spread = map, classes: ClassMap | None = None
) -> Listing:
    """List the images of a folder, or of a tar in it.

    Args:
        store: the folder.
        archive: file name of the tar in it; empty for the folder itself.
        spread: as the builtin `map`, for archives that can be scanned side by side.
        classes: of WebDataset shards, in label order; None for those that are found.

    Raises:
        StoreError: it cannot be read.
        ConfigError: classes are given for another source.
        DataError: nothing known is there, or it is broken.
    """
    where = f"{store.url}/{archive}" if archive else store.url
    if archive:
        archives.refuse_compressed(where, archive)
        found = contents(unpacked(archive, members(store, archive), store.version(archive)))
    else:
        scanned = store.scan()
        if any(found.name == ilsvrc.TRAIN for found in scanned):
            _check_no_classes(where, classes)
            return ilsvrc.listing(store, scanned, spread)
        found = contents(files_of(scanned))
    if not found.account.found:
        raise DataError(f"{where}: nothing is here. Name a folder or tar of images.")
    names = [entry.name for entry in found.files]
    if any(name.endswith(".tar") for name in names) and not any(map(is_image, names)):
        ilsvrc.refuse_misplaced(where, archive, names)
        archives.refuse_compressed(where, *names)
        return shards.listing(store, found, spread, classes)
    _check_no_classes(where, classes)
    if kaggle.fits(found.files):
        return kaggle.listing(where, store, found)
    img2dataset.refuse(where, found.files)
    return image_folder.listing(where, found)


def _check_no_classes(where: str, classes: ClassMap | None) -> None:
    if classes:
        raise ConfigError(
            f"{where}: no WebDataset shards, and in others the folders are the classes. Leave "
            "--classes out."
        )
