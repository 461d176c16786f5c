"""Access to bytes: local and remote files, compressed ones, and what is read of them."""
