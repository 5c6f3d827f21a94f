"""The files of the library by name, for tests on all of them."""

from pathlib import Path

import yaml

from insd import plugins

TASKS = {name: plugins.find("task", name) for name in plugins.names("task")}
CONFIG = Path(__file__).parents[1] / "config/config.yaml"
GRID = {name: TASKS[name] for name in yaml.safe_load(CONFIG.read_text())["tasks"]}
"""The tasks of the default grid, whose figures are in the documentation, and of which tests have trained networks."""
