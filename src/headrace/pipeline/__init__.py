"""A tree of datasets: described by nodes, compiled once into the plan by which its samples and batches are read."""
