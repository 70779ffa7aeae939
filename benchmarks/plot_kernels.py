#!/usr/bin/env python3
"""Draws the results of bench_kernels: the share of the roofline of every kernel, as an SVG.

    bench_kernels --json kernels.json
    plot_kernels.py kernels.json kernels.svg             # bars, one per benchmark
    plot_kernels.py kernels.json --markdown              # what a training step's kernels take, as tables

Needs nothing but Python.
"""
import argparse
import html
import json
import sys

COLORS = {"best": "#1f77b4", "cublas": "#7f7f7f", "naive": "#d62728", "tiled": "#ff7f0e",
          "tensor_core": "#2ca02c", "streaming": "#ff7f0e", "slab": "#2ca02c"}
WIDTH, LABEL, ROW = 1000, 430, 16


def load(path):
    """Rows of the file: dictionaries with kernel, rung, dtype, shape and the counters."""
    with open(path) as file:
        text = file.read()
    try:
        data = json.loads(text)
    except json.JSONDecodeError:  # the program was stopped: what it had written
        data = json.loads(text.rstrip().rstrip(",") + "]}")
    rows = []
    for b in data["benchmarks"]:
        if b.get("error_occurred"):
            continue
        kernel, rung, dtype, shape = b["name"].split("/iterations:")[0].split("/", 3)
        rows.append({"kernel": kernel, "rung": rung, "dtype": dtype, "shape": shape, "us": b["real_time"],
                     "roofline": b["roofline"], "floor_us": b["floor_us"], "per_step": b.get("per_step", 0),
                     "tflops": b.get("TFLOP/s"), "gbs": b["GB/s"]})
    return data["context"], rows


def rate(row):
    return f"{row['tflops']:.1f} TFLOP/s" if row["tflops"] else f"{row['gbs']:.0f} GB/s"


def bar(row, y):
    scale = WIDTH - LABEL - 190
    length = max(1.0, min(1.0, row["roofline"]) * scale)
    label = html.escape(f"{row['shape']}  {row['dtype']}")
    return (f"<text x='{LABEL - 86}' y='{y + 11}' text-anchor='end'>{label}</text>"
            f"<text x='{LABEL - 80}' y='{y + 11}' fill='#777'>{html.escape(row['rung'][:14])}</text>"
            f"<rect x='{LABEL}' y='{y + 2}' width='{length:.1f}' height='{ROW - 4}' "
            f"fill='{COLORS.get(row['rung'].split(':')[0], '#9467bd')}'/>"
            f"<text x='{LABEL + length + 5:.1f}' y='{y + 11}'>"
            f"{100 * row['roofline']:.1f} %, {row['us']:.1f} us, {rate(row)}</text>")


def svg(context, rows):
    y, parts = 46, []
    for kernel in dict.fromkeys(r["kernel"] for r in rows):
        parts.append(f"<text x='10' y='{y + 12}' font-weight='bold' font-size='13'>{html.escape(kernel)}</text>")
        y += ROW + 2
        for row in (r for r in rows if r["kernel"] == kernel and ":" not in r["rung"]):
            parts.append(bar(row, y))
            y += ROW
        y += 8
    scale = WIDTH - LABEL - 190
    grid = "".join(
        f"<line x1='{LABEL + p * scale / 100:.0f}' x2='{LABEL + p * scale / 100:.0f}' y1='40' y2='{y}' "
        f"stroke='#ddd'/><text x='{LABEL + p * scale / 100:.0f}' y='36' text-anchor='middle'>{p} %</text>"
        for p in (0, 25, 50, 75, 100))
    title = (f"Share of the roofline on {context.get('device', '?')}: copy {context.get('copy_gb_per_s')} GB/s, "
             f"products f32 {context.get('f32_tflop_per_s')}, bf16 {context.get('bf16_tflop_per_s')} TFLOP/s")
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {y + 10}' width='{WIDTH}' "
            f"height='{y + 10}' font-family='sans-serif' font-size='11' fill='#333'>"
            f"<rect width='100%' height='100%' fill='white'/>"
            f"<text x='10' y='18' font-weight='bold' font-size='14'>{html.escape(title)}</text>"
            f"{grid}{''.join(parts)}</svg>\n")


def step_table(rows, preset, dtype):
    """What the kernels of one training step take together, largest first."""
    mine = [r for r in rows if r["shape"].startswith(preset + " ") and r["dtype"] == dtype and r["per_step"]
            and r["rung"] == "best"]
    total = {}
    for r in mine:
        entry = total.setdefault(r["kernel"], [0, 0.0, 0.0])
        entry[0] += r["per_step"]
        entry[1] += r["per_step"] * r["us"] / 1e3
        entry[2] += r["per_step"] * r["floor_us"] / 1e3
    if not total:
        return []
    lines = [f"`{preset}`, {dtype}, batch 128: the kernels of a step, one after another", "",
             "| kernel | calls | ms | floor ms | of the roofline |", "|---|---|---|---|---|"]
    for kernel, (calls, ms, floor) in sorted(total.items(), key=lambda e: -e[1][1]):
        lines.append(f"| {kernel} | {calls:.0f} | {ms:.3f} | {floor:.3f} | {100 * floor / ms:.1f} % |")
    ms, floor = (sum(e[i] for e in total.values()) for i in (1, 2))
    lines += [f"| together | | {ms:.3f} | {floor:.3f} | {100 * floor / ms:.1f} % |", ""]
    return lines


def ladder_table(rows):
    """Time of each rung, where a kernel has several."""
    groups = {}
    for r in rows:
        groups.setdefault((r["kernel"], r["dtype"], r["shape"]), {})[r["rung"]] = r
    lines = []
    for (kernel, dtype, shape), rungs in groups.items():
        if len(rungs) < 3:
            continue
        text = ", ".join(f"{name} {r['us']:.0f} us ({100 * r['roofline']:.1f} %)" for name, r in rungs.items()
                         if ":" not in name)
        lines.append(f"| {kernel} {dtype} | {shape} | {text} |")
    return ["| ladder | shape | rungs (share of the roofline) |", "|---|---|---|"] + lines + [""] if lines else []


def sweep_table(rows):
    """The fastest cut of each convolution, when --sweep was given."""
    groups = {}
    for r in rows:
        if ":" in r["rung"]:
            groups.setdefault((r["kernel"], r["shape"]), []).append(r)
    if not groups:
        return []
    lines = ["| convolution | shape | fastest cuts |", "|---|---|---|"]
    for (kernel, shape), cuts in groups.items():
        fastest = sorted(cuts, key=lambda r: r["us"])[:3]
        text = ", ".join(f"{r['rung'].split(':', 1)[1]} {r['us']:.0f} us" for r in fastest)
        lines.append(f"| {kernel} | {shape} | {text} |")
    return lines + [""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", help="file of bench_kernels --json")
    parser.add_argument("svg", nargs="?", help="file to write; default: standard output")
    parser.add_argument("--markdown", action="store_true", help="print tables instead")
    options = parser.parse_args()
    context, rows = load(options.json)
    if options.markdown:
        presets = dict.fromkeys(r["shape"].split(" ")[0] for r in rows if r["per_step"])
        for preset in presets:
            for dtype in ("bf16", "f32"):
                print("\n".join(step_table(rows, preset, dtype)))
        print("\n".join(ladder_table(rows) + sweep_table(rows)))
    elif options.svg:
        with open(options.svg, "w") as file:
            file.write(svg(context, rows))
    else:
        sys.stdout.write(svg(context, rows))


if __name__ == "__main__":
    main()
