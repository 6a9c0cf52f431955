"""What runs models fast: attention over shared texts, layout, plan, passes, scorer, sampler, sessions."""
