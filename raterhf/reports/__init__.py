"""Pages and all drawing: from figures to HTML and SVG. No figure is computed here."""
