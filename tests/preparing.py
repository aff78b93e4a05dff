"""Preparation as the command does it, in this process alone."""

from alexnet.adapters.object_store import open_store
from alexnet.preparation import existing_shards, job, new_shards, sources
from alexnet.preparation.new_shards import Settings


def prepare(source, destination, accepted=(), archive="", max_rejects=0.01, **settings):
    """Images of a folder, or of a tar in it, to new shards; what `job.finish` gives."""
    store, target = open_store(str(source)), open_store(str(destination))
    made = new_shards.job(target, store, sources.open_source(store, archive), Settings(**settings))
    return _run(target, made, accepted, max_rejects)


def index(folder, accepted=(), max_rejects=0):
    """Shards that are there; what `job.finish` gives."""
    store = open_store(str(folder))
    return _run(store, existing_shards.job(store, None, None, map), accepted, max_rejects)


def _run(target, made, accepted, max_rejects):
    job.check_suspicions(made, accepted)
    job.check_rejects(made, max_rejects)
    job.begin(target, made)
    for _ in job.make_parts(target, made, map):
        pass
    return job.finish(target, made, max_rejects)
