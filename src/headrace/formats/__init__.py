"""Formats of files, a package each; the registry knows them all."""
