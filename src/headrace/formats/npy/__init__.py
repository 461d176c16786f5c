"""NumPy .npy files: one alone, or a folder with one for each field."""
