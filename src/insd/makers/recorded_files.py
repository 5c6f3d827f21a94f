"""Recordings that makers read, which may be made from the trials of the task."""

from insd.makers.base import MissingFileError, files_of


def recorded_files(pattern: str, task: str, key: str) -> tuple[str, ...]:
    """The files of a recording (`insd.makers.base.files_of`).

    Raises MissingFileError if there are none, which also says from what they are made: the workflow is first read
    before there are trials.
    """
    try:
        return files_of(pattern, task, key)
    except MissingFileError as error:
        hint = f"{error}; make it from the trials in results/{task}/trials/train.nc"
        raise MissingFileError(hint, error.path) from None
