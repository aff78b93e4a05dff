"""A run and its checkpoints: its record, which commit it was, what failures cost it."""
