"""From a data set to batches: the order of an epoch, prefetching, decoding, loader processes."""
