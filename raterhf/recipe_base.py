"""What every section of a recipe is made of: keys that are unknown are refused, and numbers beyond these limits."""

from pydantic import BaseModel, ConfigDict

MAX_SEED = 2**32 - 1  # the largest that every library takes
MAX_STEPS = 10**9
MAX_WIDTH = 2**12  # of a rater's vector and its soft tokens
MAX_SIZE = 2**20  # of a batch, a window, a width: what is more is a slip of the keyboard, and would fill the memory before it fails


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
