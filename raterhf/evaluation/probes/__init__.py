"""`raterhf probe`: each anecdote of mode collapse as a measurement; a file a probe."""
