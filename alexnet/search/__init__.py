"""Hyperparameter search: its space of values, and the record of its trials."""
