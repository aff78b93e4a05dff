"""The outside world: one module per system, and strangers to each other."""
