"""Who judges: the pool of raters, the SPECs that name them, and the population that fictitious ones are drawn from."""
