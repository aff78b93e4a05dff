"""The schedule that is built in: `make schedule`; and files for the schedulers of others."""
