"""Training a network in PyTorch."""

import torch
from torch_networks import Network
from torch_objectives import objective


def network(backbone, name, columns, y, dropout):
    return Network(backbone, columns, dropout, objective(name, y))


def optimiser(network, fused):
    return torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=fused)


def epoch(network, optimiser, batches):
    network.train()
    for x, sequence, y in batches:
        value = network.head.loss(network(x, sequence), y)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


def whole_tensors(x, sequence, y, batch):
    """Batches by indexing whole tensors, the fastest way there is in plain PyTorch."""
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        yield x[rows], None if sequence is None else sequence[rows], y[rows]
