"""Which environments of a package can be tasks, and why the others cannot.

python examples/environments.py [PACKAGE]     # a package that registers them when it is imported; default: neurogym
"""

import importlib
import sys

import gymnasium
from tqdm import tqdm

from insd.tasks import TaskError, check_task, find_task

package = sys.argv[1] if len(sys.argv) > 1 else "neurogym"
before = set(gymnasium.registry)
importlib.import_module(package)
names = sorted(set(gymnasium.registry) - before)
reasons = {}
for name in tqdm(names):
    path = f"gymnasium:{package}:{name}"
    try:
        check_task(find_task(path)())
    except TaskError as error:
        reasons[name] = str(error).removeprefix(f"class = {path!r}: ")

print(f"{len(names) - len(reasons)} of {len(names)} environments fit:")
print(", ".join(name for name in names if name not in reasons))
print("The others do not:")
for name, reason in reasons.items():
    print(f"{name}: {reason}")
