"""One command a file; where the parts of `alexnet` are connected."""
