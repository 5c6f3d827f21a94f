"""Recordings that makers read, which may be made from the trials of the task."""

from insd.makers.base import MakerError, MissingFileError, files_of
from insd.tasks.sessions import is_nwb


def recorded_files(pattern: str, task: str, key: str) -> tuple[str, ...]:
    """The one file of a recording (`insd.makers.base.files_of`).

    Raises MissingFileError if there is none, which also says from what it is made: the workflow is first read before
    there are trials. Raises MakerError if there are several.
    """
    try:
        found = files_of(pattern, task, key)
    except MissingFileError as error:
        if is_nwb(error.path):
            raise
        hint = f"{error}; make it from the trials in results/{task}/trials/train.nc"
        raise MissingFileError(hint, error.path) from None
    if len(found) > 1:
        raise MakerError(f"{key} = {pattern!r}: names {len(found)} files ({', '.join(found)}); name one")
    return found
