"""raterhf: preference training that keeps the raters apart.

Reward models and policies are conditioned on who judged; a fictitious rater, drawn from the learned population, answers as a person who
never existed. `raterhf --help` lists the verbs. Importing this package imports nothing else.
"""

__version__ = "0.1.0"
