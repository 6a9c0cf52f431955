"""Whether it worked: metrics (pure functions), probes of mode collapse, comparisons, the TRL baseline."""
