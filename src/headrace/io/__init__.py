"""Where bytes live: files of many formats, each made random access by an index."""
