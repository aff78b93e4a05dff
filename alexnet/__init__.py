"""AlexNet, trained on a cluster from WebDataset shards. `docs/architecture.md` is the map."""
