"""`python -m raterhf.training.worker RECIPE LEVEL`: one of the processes that `launch.py` starts. LEVEL is that of the log.

A mistake is left to the launcher to say, once for all processes.
"""

import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from raterhf.engine.memory import keep_freed_memory
from raterhf.errors import UserError
from raterhf.log import show_log
from raterhf.recipe_reader import load_recipe
from raterhf.training.pipeline import train


def main(path: str, level: str) -> None:
    keep_freed_memory()
    show_log(int(level))
    try:
        train(load_recipe(Path(path)))
    except (UserError, OSError) as error:
        get_error_handler().record_exception(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
