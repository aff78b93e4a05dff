"""A version of the registered model: its files, what it was made from, whether that holds."""
