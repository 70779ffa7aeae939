#!/usr/bin/python3
"""Medians and ratios of the runs that compare_torch.sh made.

    torch_ratios.py RUNS.jsonl [--json FILE]

prints a table: a row for each comparison and each PyTorch, with the time of a step, processor time and memory.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import sys

MEASURES = ("step_ms", "cpu_ms", "images_per_s", "resident_bytes")


def processor():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in MEASURES}


def ratio(over, under):
    return round(over / under, 3) if under > 0 else None


def comparisons(runs):
    """Runs of the same work side by side, in the order in which they came."""
    groups = {}
    for run in runs:
        groups.setdefault((run.get("task", "train"), run["preset"], run["batch"], run["threads"]), []).append(run)
    rows = []
    for (task, preset, batch, threads), group in groups.items():
        if len({run["parameters"] for run in group}) != 1:
            sys.exit(f"torch_ratios: the networks of {preset} differ: they have not the same number of parameters")
        by_peer = {}
        for run in group:
            by_peer.setdefault(run["peer"], []).append(run)
        if "ito" not in by_peer or len(by_peer) < 2:
            sys.exit(f"torch_ratios: {task} {preset} needs runs of ito and of PyTorch")
        mine = medians(by_peer.pop("ito"))
        row = {"task": task, "preset": preset, "batch": batch, "threads": threads, "ito": mine, "peers": []}
        if task == "sample":
            row["steps"] = group[0]["steps"]
        row["recompute"] = any(run.get("recompute", False) for run in group)
        for peer, theirs in by_peer.items():
            theirs = medians(theirs)
            row["peers"].append({
                "peer": peer, **theirs,
                "times_as_fast": ratio(theirs["step_ms"], mine["step_ms"]),
                "times_as_fast_by_processor_time": ratio(theirs["cpu_ms"], mine["cpu_ms"]),
                "memory_share": ratio(mine["resident_bytes"], theirs["resident_bytes"]),
            })
        rows.append(row)
    return rows


def title(row):
    if row["task"] == "sample":
        return f"DDIM-{row['steps']}, {row['preset']}, {row['batch']} images"
    return f"training step, {row['preset']}, batch {row['batch']}{', recomputing' if row['recompute'] else ''}"


def table(rows):
    def time(work, row):
        if row["task"] == "sample":
            return f"{work['images_per_s']:.2f} img/s"
        return f"{work['step_ms']:.0f} ms"

    yield ("work", "ito", "peer", "its time", "faster", "by cpu time", "memory: ito", "peer", "share")
    for row in rows:
        for peer in row["peers"]:
            mine, share = row["ito"], peer["memory_share"]
            yield (title(row), time(mine, row), peer["peer"], time(peer, row), f"{peer['times_as_fast']:.2f} x",
                   f"{peer['times_as_fast_by_processor_time']:.2f} x", f"{1e-6 * mine['resident_bytes']:.0f} MB",
                   f"{1e-6 * peer['resident_bytes']:.0f} MB", "-" if share is None else f"{100 * share:.0f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", help="a run a line, as the benchmarks print them with --json")
    parser.add_argument("--json", help="write machine, comparisons and runs here")
    options = parser.parse_args()
    with open(options.runs) as lines:
        runs = [json.loads(line) for line in lines]
    rows = comparisons(runs)
    cells = list(table(rows))
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"date": datetime.date.today().isoformat(), "processor": processor(), "cores": os.cpu_count(),
                       "comparisons": rows, "runs": runs}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
