#!/usr/bin/python3
"""The same network in PyTorch, to compare with bench_train_step and bench_sample.

    torch_ddpm_unet.py --preset mnist --batch 64 --threads 2 --steps 5
    torch_ddpm_unet.py --preset cifar10 --batch 128 --device cuda --dtype bf16 --compile default
    torch_ddpm_unet.py --sample --preset mnist --batch 64 --threads 2 --steps 50

prints one line of JSON with the fields of `bench_train_step --json`.  A step is noise, forward, backward, clipping,
Adam and an exponential moving average of the parameters, as there.  With --sample a batch of images is drawn by
deterministic DDIM in --steps steps, and the fields are those of `bench_sample --json`.  Debian: apt-get install
python3-torch.

Images are in channels-last order where that is faster: on a GPU, and on a CPU from PyTorch 2 on.

On a GPU: bf16 by autocast, or with bf16_pure all of the network in bf16 and a copy of its parameters in f32 for Adam, as
in ito; TF32 off in f32 unless --tf32; one fused Adam kernel where PyTorch has it; no wait for the device within the timed
steps.  Exit code 77: PyTorch sees no GPU.
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


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class ResidentMemory:
    """Bytes of RAM, at most, above those when this was made; as benchmarks/process.h."""

    def __init__(self):
        try:
            with open("/proc/self/clear_refs", "w") as f:
                f.write("5\n")  # sets VmHWM back to what is resident now (proc(5))
        except OSError:
            pass
        self.begin = self.status("VmRSS")

    def peak(self):
        return max(0, self.status("VmHWM") - self.begin)

    @staticmethod
    def status(name):
        try:
            with open("/proc/self/status") as lines:
                return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))
        except (OSError, StopIteration):
            return 0


class Bench:
    """What training and sampling share: the device, the network, the order of images, the fields that say so."""

    def __init__(self, options):
        torch.manual_seed(0)
        torch.set_num_threads(options.threads)
        self.options = options
        self.resident = ResidentMemory()
        self.device = torch.device(options.device)
        self.on_gpu = self.device.type == "cuda"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
        torch.backends.cudnn.benchmark = True
        channels, size = PRESETS[options.preset][:2]
        self.shape = (options.batch, channels, size, size)
        if options.order == "auto":
            recent = int(torch.__version__.split(".")[0]) >= 2
            options.order = "channels_last" if self.on_gpu or recent else "contiguous"
        self.order = torch.channels_last if options.order == "channels_last" else torch.contiguous_format
        self.model = UNet(*PRESETS[options.preset]).to(self.device, memory_format=self.order)
        beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        self.alpha_bar = torch.cumprod(1 - beta, 0).float().to(self.device)

    def network(self):
        compile_mode = self.options.compile
        return self.model if compile_mode == "no" else torch.compile(self.model, mode=compile_mode)

    def autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.options.dtype == "bf16")

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def fields(self):
        """The fields that both tasks report."""
        o, on_gpu = self.options, self.on_gpu
        peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "peer": "torch " + torch.__version__, "preset": o.preset,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu", "dtype": o.dtype, "order": o.order,
            "compile": o.compile, "tf32": o.tf32, "threads": o.threads, "batch": o.batch,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "peak_bytes": peak,  # on a CPU: of the process
            "resident_bytes": self.resident.peak(),
        }


def measure_training(options):
    bench = Bench(options)
    model, device, on_gpu = bench.model, bench.device, bench.on_gpu
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
    x0 = 2 * torch.rand(bench.shape, device=device) - 1
    x0 = x0.contiguous(memory_format=bench.order)
    network = bench.network()

    def step():
        eps, t = torch.randn_like(x0), torch.randint(0, 1000, (options.batch,), device=device)
        a = bench.alpha_bar[t][:, None, None, None]
        model.zero_grad(set_to_none=True)
        with bench.autocast():
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

    for _ in range(options.warmup):
        step()
    bench.wait()
    # On a GPU the host runs ahead of the device: five timed stretches, with a wait at the end of each.
    stretches = min(5, options.steps) if on_gpu else options.steps
    per_stretch = options.steps // stretches
    times, cpu_begin = [], processor_seconds()
    for _ in range(stretches):
        begin = time.perf_counter()
        for _ in range(per_stretch):
            loss = step()
        bench.wait()
        times.append((time.perf_counter() - begin) / per_stretch)
    median = statistics.median(times)
    return {
        **bench.fields(),
        "step_ms": round(1e3 * median, 3),
        "cpu_ms": round(1e3 * (processor_seconds() - cpu_begin) / (stretches * per_stretch), 2),
        "images_per_s": round(options.batch / median, 1),
        "loss": round(float(loss), 6),
    }


def measure_sampling(options):
    bench = Bench(options)
    bench.model.eval()
    if options.dtype == "bf16_pure":
        bench.model.to(torch.bfloat16)
    for p in (bench.model.conv_out.weight, bench.model.conv_out.bias):
        torch.nn.init.zeros_(p)  # it begins as in ito: predicting no noise, so that the images agree
    network = bench.network()

    def draw(steps):
        x = torch.randn(bench.shape, device=bench.device).contiguous(memory_format=bench.order)
        visited = torch.linspace(0, 999, steps).round().long().flip(0).tolist()
        one = torch.ones((), device=bench.device)
        for t, s in zip(visited, visited[1:] + [-1]):
            a, a_next = bench.alpha_bar[t], bench.alpha_bar[s] if s >= 0 else one
            with bench.autocast():
                eps = network(x, torch.full((options.batch,), t, device=bench.device)).float()
            x0 = ((x - (1 - a).sqrt() * eps) / a.sqrt()).clamp(-1, 1)
            eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
            x = a_next.sqrt() * x0 + (1 - a_next).sqrt() * eps
        return x

    # Memory formats and torch.compile want no_grad rather than inference_mode; the times are the same.
    with torch.no_grad():
        if options.warmup > 0:
            draw(options.warmup)
        bench.wait()
        cpu_begin, begin = processor_seconds(), time.perf_counter()
        images = draw(options.steps)
        bench.wait()
        seconds, cpu = time.perf_counter() - begin, processor_seconds() - cpu_begin
    return {
        **bench.fields(),
        "task": "sample", "count": options.batch, "steps": options.steps,
        "step_ms": round(1e3 * seconds / options.steps, 3),
        "cpu_ms": round(1e3 * cpu / options.steps, 2),
        "images_per_s": round(options.batch / seconds, 2),
        "rms": round(images.square().mean().sqrt().item(), 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="store_true", help="draw images in the place of training")
    parser.add_argument("--preset", choices=PRESETS, default="mnist")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("f32", "bf16", "bf16_pure"), default="f32")
    parser.add_argument("--compile", choices=("no", "default", "reduce-overhead", "max-autotune"), default="no",
                        help="mode of torch.compile")
    parser.add_argument("--tf32", action="store_true", help="TF32 products in f32")
    parser.add_argument("--order", choices=("auto", "contiguous", "channels_last"), default="auto",
                        help="of the axes of images in memory; auto: the faster one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=0, help="default: 5, with --sample 50")
    parser.add_argument("--warmup", type=int, default=2)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch_ddpm_unet: this PyTorch sees no GPU", file=sys.stderr)
        sys.exit(77)
    options.steps = options.steps or (50 if options.sample else 5)
    print(json.dumps(measure_sampling(options) if options.sample else measure_training(options)))


if __name__ == "__main__":
    main()
