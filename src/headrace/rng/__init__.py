"""A sample's randomness: keys, the place in the chain of transforms, and draws."""
