"""Decoders of encoded images: the registry of codecs, and a file for each library that decodes."""
