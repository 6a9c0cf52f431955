"""Language models, policies and reward models: where they come from, where they compute, how they are saved and loaded."""
