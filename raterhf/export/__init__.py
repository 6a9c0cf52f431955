"""Take a run away: folders that transformers, peft, vLLM and llama.cpp load without raterhf, in which raters are vocabulary."""
