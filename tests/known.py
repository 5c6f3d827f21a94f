"""The files of the library by name, for tests on all of them."""

from insd import plugins

TASKS = {name: plugins.find("task", name) for name in plugins.names("task")}
