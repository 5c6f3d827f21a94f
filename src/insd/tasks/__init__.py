"""The tasks, by the names that the config uses."""

from insd.tasks.base import Duration, NotNegative, Span, Task
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro
from insd.tasks.own import TaskError, check_task, find_task, task_fingerprint

TASKS: dict[str, type[Task]] = {
    "context_integration": ContextIntegration,
    "flip_flop": FlipFlop,
    "memory_pro": MemoryPro,
}
"""The tasks of this library by name."""

__all__ = [
    "TASKS",
    "Duration",
    "NotNegative",
    "Span",
    "Task",
    "TaskError",
    "check_task",
    "find_task",
    "task_fingerprint",
]
