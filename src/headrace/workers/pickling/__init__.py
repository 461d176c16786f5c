"""Messages between processes: work to a worker, results and errors back."""
