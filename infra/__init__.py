"""Where the pipeline runs. Importable, so that tests can start the servers."""
