"""The subject of networks: models, training and datasets under /v1/networks and /v1/datasets."""
