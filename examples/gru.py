"""Train a PyTorch GRU that solves a task but does not predict the activity of a stored network.

This is a training loop of your own around a module of PyTorch. To train a further architecture by the workflow instead,
with all analyses, write one file and one entry of the config: docs/own-task.md, "An architecture of your own".

python examples/gru.py TRIALS.nc NETWORK.nc [ITERATIONS]
    TRIALS.nc, NETWORK.nc: for example results/flip_flop/trials/train.nc and
                           results/flip_flop/insd/seeds-0/round-0/network.nc
"""

import sys

import torch
from tqdm import trange

from insd import datasets
from insd.deflation import DeflationPenalty, null_space_activity

trials = datasets.read(sys.argv[1], "trials")
stored = datasets.read(sys.argv[2], "network")
iterations = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
inputs, targets, mask = (torch.from_numpy(trials[name].values) for name in ("inputs", "targets", "mask"))

gru = torch.nn.GRU(inputs.shape[-1], 64, batch_first=True)
readout = torch.nn.Linear(64, targets.shape[-1])
penalty = DeflationPenalty([null_space_activity(stored, trials)])
optimiser = torch.optim.Adam([*gru.parameters(), *readout.parameters()], lr=3e-3)

for iteration in (bar := trange(iterations)):
    batch = torch.randperm(len(inputs))[:64]
    rates, _ = gru(inputs[batch])  # the state of a GRU is its rates
    task_loss = ((readout(rates) - targets[batch]).square() * mask[batch]).sum() / mask[batch].sum()
    predicted = penalty(rates, readout, batch).sum()
    optimiser.zero_grad()
    (task_loss + 0.1 * predicted).backward()
    optimiser.step()
    if iteration % 20 == 0:
        bar.set_postfix_str(f"task loss {task_loss.item():.3f}, S {predicted.item():.3f}")
print(f"task loss {task_loss.item():.3f}, S to the stored network {predicted.item():.3f}")
