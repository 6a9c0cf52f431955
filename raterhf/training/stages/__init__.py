"""One file a stage: base, reward, sft, policy."""
