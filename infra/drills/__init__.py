"""Failures on purpose, on a real cluster: `make drills`."""
