"""A PyTorch yardstick: the airbench94 network and recipe, written after Jordan (2024), arXiv:2404.00498.

Run by eight_epochs.py under any Python that has torch and numpy: `python torch_speedrun.py PICTURES.npz EPOCHS SEED`.
Prints one JSON object. Section numbers below are the paper's.
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
BATCH, RATE, MOMENTUM, DECAY = 1024, 11.5, 0.85, 0.0153  # appendix: rate and decay per 1,024 examples, decoupled
BIAS_FACTOR, SMOOTHING, SHIFT = 64.0, 0.2, 2
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
    # Decay and rate act per example of a summed loss; here the loss is a mean, so the rate is times the batch.
    rate = RATE * batch / (1024 * (1 + 1 / (1 - MOMENTUM)))
    decay = DECAY * batch / (1024 * (1 + 1 / (1 - MOMENTUM)))
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    biases = [p for name, p in named if "norm" in name]
    others = [p for name, p in named if "norm" not in name]
    groups = [
        {"params": biases, "lr": rate * BIAS_FACTOR, "weight_decay": decay / (rate * BIAS_FACTOR)},
        {"params": others, "lr": rate, "weight_decay": decay / rate},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    peak = max(1, int(0.23 * steps))

    def factor(step):  # a triangle from 0.2 over 1 to 0.07 (appendix)
        return 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / max(1, steps - peak)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    slow = {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}

    def look_ahead(decay):  # towards a moving average of the weights and back (3.4)
        for name, value in network.state_dict().items():
            if name in slow:
                slow[name].lerp_(value, 1 - decay)
                value.copy_(slow[name])

    side = torch.rand(n) < 0.5
    loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    window = torch.arange(32)
    seconds, done = 0.0, 0
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
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done % 5 == 0:
                with torch.no_grad():
                    look_ahead(0.95**5 * (done / steps) ** 3)
        seconds += time.perf_counter() - start
        print(f"PyTorch, epoch {epoch + 1}: loss {loss.item():.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)
    with torch.no_grad():
        look_ahead(1.0)

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
