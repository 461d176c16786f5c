"""Worker processes: their start from a template, supervision, shared memory, and end."""
