#!/usr/bin/python3
"""The same network in PyTorch, to compare the time of a training step with bench_train_step.

    torch_ddpm_unet.py --preset mnist --batch 64 --threads 2 --steps 5

prints one line of JSON with the fields of `bench_train_step --json`.  A step is noise, forward, backward, clipping,
Adam and an exponential moving average of the parameters, as there.  Debian: apt-get install python3-torch.
"""
import argparse
import json
import math
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# channels, image size, base width, multipliers per level, sizes with attention; two blocks per level
PRESETS = {
    "mnist": (1, 28, 32, (1, 2, 2), {14}),
    "cifar10": (3, 32, 128, (1, 2, 2, 2), {16}),
}
GROUPS, EPS = 32, 1e-6


class Residual(nn.Module):
    """Two 3x3 convolutions with the time embedding added between them."""

    def __init__(self, before, after, embedding):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, before, EPS)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, after)
        self.norm2 = nn.GroupNorm(GROUPS, after, EPS)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(emb)[..., None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Every pixel looks at every pixel; one head."""

    def __init__(self, channels):
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels, EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x):
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(x.shape[1]), dim=-1)
        return x + self.to_out(weights @ v).transpose(1, 2).reshape(x.shape)


class Stage(nn.Module):
    """A residual block and, at some sizes, attention."""

    def __init__(self, before, after, embedding, attention):
        super().__init__()
        self.resnet = Residual(before, after, embedding)
        self.attention = Attention(after) if attention else nn.Identity()

    def forward(self, x, emb):
        return self.attention(self.resnet(x, emb))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x, emb):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class UNet(nn.Module):
    def __init__(self, channels, size, base, multipliers, attention_sizes):
        super().__init__()
        self.base, embedding = base, 4 * base
        self.embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(),
                                   nn.Linear(embedding, embedding), nn.SiLU())
        self.conv_in = nn.Conv2d(channels, base, 3, padding=1)
        now, skips = base, [base]
        self.down = nn.ModuleList()
        for level, m in enumerate(multipliers):
            for _ in range(2):
                self.down.append(Stage(now, base * m, embedding, size in attention_sizes))
                now = base * m
                skips.append(now)
            if level + 1 < len(multipliers):
                self.down.append(Down(now))
                skips.append(now)
                size //= 2
        self.middle = nn.ModuleList([Stage(now, now, embedding, True),
                                     Stage(now, now, embedding, False)])
        self.up = nn.ModuleList()
        for level, m in reversed(list(enumerate(multipliers))):
            for _ in range(3):
                self.up.append(Stage(now + skips.pop(), base * m, embedding, size in attention_sizes))
                now = base * m
            if level > 0:
                self.up.append(Up(now))
                size *= 2
        self.norm_out = nn.GroupNorm(GROUPS, now, EPS)
        self.conv_out = nn.Conv2d(now, channels, 3, padding=1)

    def forward(self, x, t):
        half = self.base // 2
        angles = t[:, None] * torch.exp(torch.arange(half) * (-math.log(1e4) / (half - 1)))
        emb = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1))
        h = self.conv_in(x)
        skips = [h]
        for part in self.down:
            h = part(h, emb)
            skips.append(h)
        for part in self.middle:
            h = part(h, emb)
        for part in self.up:
            h = part(torch.cat([h, skips.pop()], 1) if isinstance(part, Stage) else h, emb)
        return self.conv_out(F.silu(self.norm_out(h)))


def measure(options):
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    channels, size = PRESETS[options.preset][:2]
    model = UNet(*PRESETS[options.preset])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    average = [p.detach().clone() for p in model.parameters()]
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
    x0 = 2 * torch.rand(options.batch, channels, size, size) - 1

    def step():
        eps, t = torch.randn_like(x0), torch.randint(0, 1000, (options.batch,))
        a = alpha_bar[t][:, None, None, None]
        optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(model(a.sqrt() * x0 + (1 - a).sqrt() * eps, t), eps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_(average, 0.9999)
            torch._foreach_add_(average, list(model.parameters()), alpha=1e-4)
        return loss.item()

    def cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    for _ in range(options.warmup):
        step()
    times, cpu_begin = [], cpu()
    for _ in range(options.steps):
        begin = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - begin)
    median = statistics.median(times)
    return {
        "peer": "torch " + torch.__version__, "preset": options.preset, "device": "cpu",
        "dtype": "f32", "threads": options.threads, "batch": options.batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "step_ms": round(1e3 * median, 2),
        "cpu_ms": round(1e3 * (cpu() - cpu_begin) / options.steps, 2),
        "images_per_s": round(options.batch / median, 1),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # of the process
        "loss": round(loss, 6),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="mnist")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    print(json.dumps(measure(parser.parse_args())))
