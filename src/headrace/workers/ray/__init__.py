"""Workers that are Ray actors, anywhere in a cluster; Ray is imported only where there are some."""
