"""Where the pipeline runs. Importable, so that tests can start the servers of `local_stack`."""
