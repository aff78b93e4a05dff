"""Where the pipeline runs: an importable folder, so that tests start the servers of `local_stack`."""
