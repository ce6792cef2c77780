"""`anypo push`: the model of a run to the hub, with a card that says how it was made."""

from __future__ import annotations

import shlex
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from anypo.errors import AnypoError, ConfigError, one_line
from anypo.models.load import model_path
from anypo.runs.card import model_card
from anypo.support.saving import MANIFEST, write_file
from anypo.training.state import FOLDER
from anypo_cli.printing import say

CARD = "README.md"
MIB = 2**20


def push(run: str, repository: str, *, private: bool, dry_run: bool) -> None:
    """Write the card of a run into its directory, and upload it with the model in one commit.

    Raises:
        AnypoError: There is no such run, or it cannot be uploaded.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ConfigError(f"'{repository}' is no name of the hub: {one_line(error)}") from error
    folder, card = Path(run), Path(run, CARD)
    model = Path(model_path(run, lambda text: say(f"note: {text}")))
    write_file(card, model_card(folder, model))
    print(f"wrote {card}")
    files = {path.relative_to(model).as_posix(): path for path in _files(model)} | {CARD: card}
    for name, path in sorted(files.items()):
        print(f"{path.stat().st_size / MIB:10.2f} MiB  {name}")
    if dry_run:
        print(f"nothing was sent; without --dry-run it goes to {repository}")
        return
    print(f"pushed to {_upload(repository, files, run, private=private)}")


def _files(model: Path) -> list[Path]:
    """What belongs to the model, and not to the state of a run that may go on from there."""
    own = [
        path for path in model.rglob("*") if path.is_file() and path.name not in (MANIFEST, CARD)
    ]
    return [path for path in own if FOLDER not in path.relative_to(model).parts[:-1]]


def _upload(repository: str, files: dict[str, Path], run: str, *, private: bool) -> str:
    api = HfApi(library_name="anypo")
    adds = [CommitOperationAdd(name, str(path)) for name, path in sorted(files.items())]
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(made.repo_id, adds, commit_message=f"The model of {Path(run).name}")
    except Exception as error:  # of the network, of the hub, and of who may write there
        raise AnypoError(
            f"'{repository}' was not pushed: {one_line(error) or type(error).__name__} (are you "
            f"logged in? `hf auth login`; nothing is lost: `anypo push {shlex.quote(run)} "
            f"{repository}` tries again)"
        ) from error
    return str(made)
