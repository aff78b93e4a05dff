"""The folders below `cluster.storage_url`: one a run, and those of models, searches and digits."""

_DECISIONS, _RETRAININGS, _SEARCHES, _DATA = "_registry", "_retraining", "_search", "_data"


def run(storage_url: str, name: str) -> str:
    """A run's record, journal, lease and checkpoints."""
    return f"{storage_url}/{name}"


def decisions(storage_url: str, model: str) -> str:
    """What was decided about the versions of a registered model."""
    return f"{storage_url}/{_DECISIONS}/{model}"


def retrainings(storage_url: str, model: str) -> str:
    """What was retrained for a registered model, and the lease of who retrains."""
    return f"{storage_url}/{_RETRAININGS}/{model}"


def search(storage_url: str, name: str) -> str:
    """The record of a search, and its lease."""
    return f"{storage_url}/{_SEARCHES}/{name}"


def digits(storage_url: str) -> str:
    """The embedded data set, where every node can read it."""
    return f"{storage_url}/{_DATA}/digits-64px"


def shown(folder: str, step: int) -> str:
    """What works in a folder, for people."""
    kind, _, name = folder.rpartition("/")
    if kind == _RETRAININGS:
        return f"retraining of {name}"
    return f"search {name}" if kind == _SEARCHES else f"run {folder}, step {step}"
