"""Who disagrees with whom, on what, and how much of it is taste: `raterhf audit`."""
