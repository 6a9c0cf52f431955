"""A local page to walk through the raters of a run: who says what, the map of them, and the texts that they might have written."""
