"""Files larger than memory, scored or answered part by part by a pool of workers."""
