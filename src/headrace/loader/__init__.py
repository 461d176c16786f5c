"""The DataLoader: it joins datasets, order, workers and batches."""
