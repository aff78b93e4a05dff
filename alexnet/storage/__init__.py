"""Where files are kept: what the pipeline needs of a store, leases in it, temporary folders."""
