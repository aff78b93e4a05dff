"""The order of a stream, as the plan says it."""


def stream_ids(plan, stream, position=0):
    """(shard, sample) pairs of a stream from a position on."""
    for window in plan.windows(stream, position):
        read = [(run.shard, run.first + i) for run in window.runs for i in range(run.num_samples)]
        yield from (read[place] for place in window.order[max(0, position - window.start) :])
