"""`python -m raterhf`."""

from raterhf.cli.main import app

app()
