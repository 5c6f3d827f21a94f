"""The tasks: one file each, by whose name the config calls them; `base` says what all of them are."""

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Span, Task
from insd.tasks.own import TaskError, check_task, find_task, task_fingerprint
from insd.tasks.variables import Variable

__all__ = [
    "Duration",
    "GridField",
    "Noise",
    "NotNegative",
    "RegimesField",
    "Span",
    "Task",
    "TaskError",
    "Variable",
    "check_task",
    "find_task",
    "task_fingerprint",
]
