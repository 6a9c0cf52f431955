"""How fast this machine scores, trains and samples: `raterhf bench`."""
