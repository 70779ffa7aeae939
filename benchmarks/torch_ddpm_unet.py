#!/usr/bin/python3
"""The same network in PyTorch, to compare the time of a training step with bench_train_step.

    torch_ddpm_unet.py --preset mnist --batch 64 --threads 2 --steps 5
    torch_ddpm_unet.py --preset cifar10 --batch 128 --device cuda --dtype bf16 --compile default

prints one line of JSON with the fields of `bench_train_step --json`.  A step is noise, forward, backward, clipping,
Adam and an exponential moving average of the parameters, as there.  Debian: apt-get install python3-torch.

On a GPU: images in channels-last order; bf16 by autocast, or with bf16_pure all of the network in bf16 and a copy of its
parameters in f32 for Adam, as in ito; TF32 off in f32 unless --tf32; one fused Adam kernel where PyTorch has it; no wait
for the device within the timed steps.  Exit code 77: PyTorch sees no GPU.
"""
import argparse
import json
import math
import resource
import statistics
import sys
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
        angles = t[:, None] * torch.exp(torch.arange(half, device=t.device) * (-math.log(1e4) / (half - 1)))
        dtype = self.conv_in.weight.dtype
        emb = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1).to(dtype))
        h = self.conv_in(x.to(dtype))
        skips = [h]
        for part in self.down:
            h = part(h, emb)
            skips.append(h)
        for part in self.middle:
            h = part(h, emb)
        for part in self.up:
            h = part(torch.cat([h, skips.pop()], 1) if isinstance(part, Stage) else h, emb)
        return self.conv_out(F.silu(self.norm_out(h)))


def copy_all(to, source):
    """Copies a list of tensors into another, in few kernels where PyTorch can."""
    if hasattr(torch, "_foreach_copy_"):
        torch._foreach_copy_(to, source)
    else:
        for a, b in zip(to, source):
            a.copy_(b)


def make_adam(parameters, device):
    try:
        return torch.optim.Adam(parameters, lr=2e-4, fused=device.type == "cuda")
    except (TypeError, RuntimeError):  # an older PyTorch
        return torch.optim.Adam(parameters, lr=2e-4)


def measure(options):
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    channels, size = PRESETS[options.preset][:2]
    order = torch.channels_last if on_gpu else torch.contiguous_format
    model = UNet(*PRESETS[options.preset]).to(device, memory_format=order)
    parameters = list(model.parameters())
    master = parameters  # what Adam changes
    if options.dtype == "bf16_pure":
        master = [p.detach().clone() for p in parameters]
        for p in master:
            p.grad = torch.zeros_like(p)
        model.to(torch.bfloat16)
        parameters = list(model.parameters())
    optimizer = make_adam(master, device)
    average = [p.detach().clone() for p in master]
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(device)
    x0 = 2 * torch.rand(options.batch, channels, size, size, device=device) - 1
    x0 = x0.contiguous(memory_format=order)
    network = model
    if options.compile != "no":
        network = torch.compile(model, mode=options.compile)

    def step():
        eps, t = torch.randn_like(x0), torch.randint(0, 1000, (options.batch,), device=device)
        a = alpha_bar[t][:, None, None, None]
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
            predicted = network(a.sqrt() * x0 + (1 - a).sqrt() * eps, t)
        loss = F.mse_loss(predicted.float(), eps)
        loss.backward()
        if master is not parameters:
            copy_all([p.grad for p in master], [p.grad for p in parameters])
        torch.nn.utils.clip_grad_norm_(master, 1.0)
        optimizer.step()
        with torch.no_grad():
            if master is not parameters:
                copy_all(parameters, master)
            torch._foreach_mul_(average, 0.9999)
            torch._foreach_add_(average, master, alpha=1e-4)
        return loss if on_gpu else loss.item()

    def wait():
        if on_gpu:
            torch.cuda.synchronize()

    def cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    for _ in range(options.warmup):
        step()
    wait()
    # On a GPU the host runs ahead of the device: five timed stretches, with a wait at the end of each.
    stretches = min(5, options.steps) if on_gpu else options.steps
    per_stretch = options.steps // stretches
    times, cpu_begin = [], cpu()
    for _ in range(stretches):
        begin = time.perf_counter()
        for _ in range(per_stretch):
            loss = step()
        wait()
        times.append((time.perf_counter() - begin) / per_stretch)
    median = statistics.median(times)
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "peer": "torch " + torch.__version__, "preset": options.preset,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu", "dtype": options.dtype,
        "compile": options.compile, "tf32": options.tf32, "threads": options.threads, "batch": options.batch,
        "parameters": sum(p.numel() for p in parameters),
        "step_ms": round(1e3 * median, 3),
        "cpu_ms": round(1e3 * (cpu() - cpu_begin) / (stretches * per_stretch), 2),
        "images_per_s": round(options.batch / median, 1),
        "peak_bytes": peak,  # on a CPU: of the process
        "loss": round(float(loss), 6),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="mnist")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("f32", "bf16", "bf16_pure"), default="f32")
    parser.add_argument("--compile", choices=("no", "default", "reduce-overhead", "max-autotune"), default="no",
                        help="mode of torch.compile")
    parser.add_argument("--tf32", action="store_true", help="TF32 products in f32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch_ddpm_unet: this PyTorch sees no GPU", file=sys.stderr)
        sys.exit(77)
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
