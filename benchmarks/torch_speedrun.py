"""A PyTorch yardstick: airbench94's network (Jordan 2024, arXiv:2404.00498), its kernels moved by Muon.

Muon and the rates that go with it are after Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural
networks", and its record on CIFAR-10 (airbench94_muon). eight_epochs.py runs it under any Python that has torch and
numpy: `python torch_speedrun.py PICTURES.npz EPOCHS SEED`. Prints one JSON object. Sections are the first paper's.
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WIDTHS = (64, 256, 256)
BATCH, SMOOTHING, SHIFT = 2000, 0.2, 2
MUON_RATE, MUON_MOMENTUM, NEWTON_SCHULZ_STEPS = 0.24, 0.6, 3
# Plain SGD for all but the kernels; decay is decoupled, per step at the rate's peak.
BIAS_RATE, HEAD_RATE, MOMENTUM, DECAY = 0.053, 0.67, 0.85, 2e-6 * BATCH
WHITENING_BIAS_EPOCHS = 3


class Block(nn.Module):
    def __init__(self, before: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1, self.norm2 = (nn.BatchNorm2d(width, eps=1e-12, momentum=0.4) for _ in range(2))
        for conv in (self.conv1, self.conv2):
            nn.init.dirac_(conv.weight[: conv.in_channels])  # identity at the start (3.3)
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x):
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Network(nn.Module):
    def __init__(self, images: torch.Tensor):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        kernel = (vectors / torch.sqrt(values + 5e-4)).T.reshape(12, 3, 2, 2)  # frozen patch whitening (3.2)
        self.whitening.weight.data[:] = torch.cat([kernel, -kernel])
        self.whitening.weight.requires_grad = False
        nn.init.zeros_(self.whitening.bias)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip((24, *WIDTHS[:-1]), WIDTHS, strict=True)))
        self.head = nn.Linear(WIDTHS[-1], 10, bias=False)

    def forward(self, x):
        x = self.blocks(F.gelu(self.whitening(x)))
        return self.head(F.max_pool2d(x, 3).flatten(1)) / 9


class Muon(torch.optim.Optimizer):
    """Steps of orthogonal matrices; a kernel (out, in, height, width) is the matrix (out, in·height·width)."""

    def __init__(self, kernels, lr: float, momentum: float):
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for kernel in group["params"]:
                mean = self.state[kernel].setdefault("mean", torch.zeros_like(kernel))
                mean.mul_(group["momentum"]).add_(kernel.grad)
                step = kernel.grad.add(mean, alpha=group["momentum"])  # Nesterov
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())  # filters of norm 1 on average
                kernel.add_(orthogonal(step.flatten(1)).view_as(kernel), alpha=-group["lr"])


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest semi-orthogonal matrix, by a Newton–Schulz iteration with the coefficients of Jordan et al."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def views(network, images, averaged: bool):
    """Softmax-free answers: of the picture alone, or weighted over mirror images and shifts by a pixel (3.5)."""
    if not averaged:
        return network(images)

    def mirrored(x):
        return 0.5 * network(x) + 0.5 * network(x.flip(-1))

    padded = F.pad(images, (1, 1, 1, 1), "reflect")
    shifted = [mirrored(padded[:, :, i : i + 32, i : i + 32]) for i in (0, 2)]
    return 0.5 * mirrored(images) + 0.25 * shifted[0] + 0.25 * shifted[1]


def bfloat16_is_faster() -> bool:
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(64, 64, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
        kernel = torch.ones(64, 64, 3, 3, dtype=dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            F.conv2d(x, kernel, padding=1)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.float32] > 1.2 * seconds[torch.bfloat16]


def main(path: str, epochs: int, seed: int) -> None:
    torch.manual_seed(seed)
    arrays = np.load(path)

    def pixels(name):
        x = torch.from_numpy(arrays[name]).permute(0, 3, 1, 2).float() / 255
        x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        return x.contiguous(memory_format=torch.channels_last)

    images, labels = pixels("images"), torch.from_numpy(arrays["labels"])
    test_images, test_labels = pixels("test_images"), torch.from_numpy(arrays["test_labels"])
    batch, n = min(BATCH, len(images)), len(images)
    steps = n // batch * epochs
    half = bfloat16_is_faster()
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=half)

    network = Network(images[:5000]).to(memory_format=torch.channels_last)
    kernels = [p for p in network.blocks.parameters() if p.ndim == 4]
    biases = [p for name, p in network.named_parameters() if p.requires_grad and p.ndim == 1]
    plain = [
        {"params": biases, "lr": BIAS_RATE},
        {"params": [network.head.weight], "lr": HEAD_RATE},
    ]
    for group in plain:
        group["weight_decay"] = DECAY / group["lr"]
    optimizers = [
        torch.optim.SGD(plain, momentum=MOMENTUM, nesterov=True),
        Muon(kernels, lr=MUON_RATE, momentum=MUON_MOMENTUM),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: 1 - step / steps) for each in optimizers]

    side = torch.rand(n) < 0.5
    loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    window = torch.arange(32)
    seconds = 0.0
    for epoch in range(epochs):
        start = time.perf_counter()
        network.train()
        network.whitening.bias.requires_grad = epoch < WHITENING_BIAS_EPOCHS
        order = torch.randperm(n)
        for first in range(0, n - batch + 1, batch):
            index = order[first : first + batch]
            padded = F.pad(images[index], (SHIFT,) * 4, "reflect").permute(0, 2, 3, 1)
            move = torch.randint(0, 2 * SHIFT + 1, (2, batch, 1))
            rows, columns = move[0] + window, move[1] + window
            mirrored = side[index] ^ (epoch % 2 == 1)  # alternating flip (3.6)
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
            x = padded[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
            with autocast:
                loss = loss_of(network(x).float(), labels[index])
            network.zero_grad(set_to_none=True)
            loss.backward()
            for each in (*optimizers, *schedules):
                each.step()
        seconds += time.perf_counter() - start
        print(f"PyTorch, epoch {epoch + 1}: loss {loss.item():.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)

    network.eval()
    scores = {}
    with torch.no_grad(), autocast:
        for name, averaged in (("single", False), ("averaged", True)):
            answers = [views(network, part, averaged).float().argmax(1) for part in test_images.split(500)]
            scores[name] = (torch.cat(answers) == test_labels).float().mean().item()
    precision = "bfloat16" if half else "float32"
    print(json.dumps({"seconds": seconds, "precision": precision, "torch": torch.__version__, **scores}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
