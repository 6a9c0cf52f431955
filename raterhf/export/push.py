"""An exported folder on the hub, in a private repository; whoever owns it may make it public."""

import re
from pathlib import Path

from raterhf.errors import UserError


def check_name(name: str) -> None:
    """Raise UserError for what is no name of a repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"--push {name!r} is no name on the hub; give OWNER/NAME")


def push_folder(folder: Path, name: str) -> str:
    """Upload a folder into a repository, made where there is none; returns its address. Raises UserError where that cannot be done."""
    from huggingface_hub import HfApi

    try:
        address = HfApi().create_repo(name, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by raterhf")
    except Exception as error:  # of the hub, of its network, of who is logged in: of many kinds
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{name} could not be uploaded ({type(error).__name__}: {why[:200]}); {folder} is whole: with a network, and logged in by "
            "`hf auth login`, upload it by `hf upload`"
        ) from error
    return str(address)
