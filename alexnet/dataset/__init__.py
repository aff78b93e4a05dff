"""A data set as it lies in a store: manifest, shards, their indexes; reading and writing them."""
