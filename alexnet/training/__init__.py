"""The training loop on one worker, and what it is made of."""
