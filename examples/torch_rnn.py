"""Two torch.nn.RNN on a task of plain tensors: the second solves it without predicting the first.

python examples/torch_rnn.py [ITERATIONS]
"""

import sys

import torch
from tqdm import trange

from insd.deflation import DeflationPenalty
from insd.predictivity import null_projector

iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
torch.manual_seed(0)

# Two noisy inputs begin with pulses of either sign; the output is the product of the signs, to be remembered.
signs = torch.randint(0, 2, (64, 1, 2)) * 2.0 - 1.0
inputs = 0.3 * torch.randn(64, 15, 2)
inputs[:, :3] += signs
targets = signs.prod(-1, keepdim=True).expand(-1, 15, -1)


def train(penalty=None):
    """The rates of a network on all trials, its readout and its task loss."""
    rnn, readout = torch.nn.RNN(2, 24, batch_first=True), torch.nn.Linear(24, 1)
    optimiser = torch.optim.Adam([*rnn.parameters(), *readout.parameters()], lr=1e-2)
    for _ in (bar := trange(iterations)):
        rates, _ = rnn(inputs)
        task_loss = (readout(rates) - targets)[:, 3:].square().mean()
        predicted = penalty(rates, readout).sum() if penalty else torch.zeros(())
        optimiser.zero_grad()
        (task_loss + predicted).backward()
        optimiser.step()
        bar.set_postfix_str(f"task loss {task_loss.item():.3f}, S {predicted.item():.3f}")
    return rates.detach(), readout, task_loss.item()


rates, readout, _ = train()
penalty = DeflationPenalty([(rates @ null_projector(readout.weight.detach()).float()).numpy()])
for name, used in (("another network", None), ("deflated network", penalty)):
    rates, readout, loss = train(used)
    print(f"{name}: task loss {loss:.3f}, S to the first {penalty(rates, readout).item():.2f}")
