#!/usr/bin/env python3
"""Writes README's table of costs from what the benchmarks printed.

    benches/readme_costs.py              rewrites the section between the two markers in README.md
    benches/readme_costs.py --check      exits with 1 where the section is not what the figures say

The figures are files of JSON lines, benches/figures/NAME.jsonl, each the output of

    cargo bench --bench NAME -- --json > benches/figures/NAME.jsonl

for overhead, snapshot, serve and idle; `overhead_frame_pointers` is overhead built with frame pointers (benches/README.md).
Needs Python 3.8 or later and nothing else.
"""

import json
import pathlib
import sys

BENCHES = pathlib.Path(__file__).resolve().parent
FIGURES = BENCHES / "figures"
README = BENCHES.parent / "README.md"
BEGIN = "<!-- costs: begin; written by benches/readme_costs.py -->"
END = "<!-- costs: end -->"
MIB = 1 << 20
# By how much the rounds of a ratio may differ.
NOISY = 1.5


def read(name):
    """The machine and the rows of one benchmark; of none where it was not run."""
    path = FIGURES / f"{name}.jsonl"
    if not path.exists():
        return None, []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    machines = [row["machine"] for row in rows if "machine" in row]
    if len(machines) != 1:
        sys.exit(f"{path}: {len(machines)} lines that name the machine, where one run prints one")
    return machines[0], [row for row in rows if "machine" not in row]


def number(value, decimals=0):
    return "–" if value is None else f"{value:,.{decimals}f}"


def significant(value):
    """Three digits, or all that are before the point."""
    if value is None:
        return "–"
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return number(value, decimals)


def table(head, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def pick(rows, variant=None, **parameters):
    """Rows with figures, of this variant, with these parameters."""
    for row in rows:
        if "median" in row and variant in (None, row["variant"]):
            if all(row["parameters"].get(name) == value for name, value in parameters.items()):
                yield row


def runs(rows):
    counts = sorted({row["runs"] for row in rows if "runs" in row})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def overhead(rows, frames=45):
    def cell(variant, interval, threads):
        found = list(pick(rows, variant, interval_kib=interval, frames=frames, threads=threads))
        if not found:
            return ["–", "–", "–"]
        row = found[0]
        extra = row.get("extra_ns_per_sample")
        return [significant(row["median"]), number(row["throughput_percent"]), number(extra)]

    variants = list(dict.fromkeys(row["variant"] for row in pick(rows)))
    lines = []
    for variant in variants:
        intervals = sorted({row["parameters"]["interval_kib"] for row in pick(rows, variant)}, key=lambda i: -(i or 0))
        for interval in intervals:
            one, two = cell(variant, interval, 1), cell(variant, interval, 2)
            at = f"{interval} KiB" if interval else ""
            lines.append([variant, at, *one, *two])
    head = ["", "a sample every", "ns", "% of off", "ns a sample", "two threads: ns", "% of off", "ns a sample"]
    return (
        f"Per allocation and its free, 16 to 1,040 bytes, at {frames} frames (`cargo bench --bench overhead`, medians of "
        f"{runs(pick(rows))} runs in turns); `off` is jemalloc with its profiler off, `asleep` with it on and not active, "
        "`one frame` a backtrace hook that unwinds nothing:\n\n" + table(head, lines)
    )


def snapshot(rows):
    names = ["heapward snapshot", "prof.dump to memfd", "jemalloc_pprof dump_profile"]
    lines = []
    taken = [row["parameters"] for row in pick(rows, names[0])]
    for stacks, frames, sizes in sorted((one["stacks"], one["frames"], one["sizes"]) for one in taken):
        cells = [number(stacks), number(frames), number(sizes)]
        for name in names:
            row = next(pick(rows, name, stacks=stacks, frames=frames, sizes=sizes))
            peak = f"+{significant(row['peak_rss_bytes_median'] / MIB)} MiB"
            if row.get("dump_text_bytes"):
                peak = f"{significant(row['dump_text_bytes'] / MIB)} MiB of text"
            cells.append(f"{significant(row['median'])} ms, {peak}")
        lines.append(cells)
    text = (
        "A snapshot, time and peak memory (`cargo bench --bench snapshot`, medians):\n\n"
        + table(["stacks alive", "frames of each", "sizes of objects", "heapward", "`prof.dump` into memory", "dump and parse with jemalloc_pprof 0.9"], lines)
    )
    lines = []
    for row in pick(rows):
        if row["variant"].startswith("stall: "):
            each = number(row["snapshots"])
            figures = [significant(row[name]) for name in ["median", "undisturbed_p9999_us", "free_p9999_us"]]
            figures += [number(row["alloc_max_us"]), each]
            lines.append([number(row["parameters"]["stacks"]), row["variant"][len("stall: "):], *figures])
    head = ["stacks alive", "every 100 ms", "allocation p99.99, µs", "core not lost", "free p99.99, µs", "worst allocation, µs", "taken"]
    return text + "\nWhat two busy threads wait for meanwhile:\n\n" + table(head, lines)


def serve(rows):
    lines = []
    for row in pick(rows):
        cells = [row["variant"], number(row["median"]), f"{row['throughput_of_off']:.3f}", number(row["p99_us"])]
        cells += [significant(row["cpu_us_per_request"]), number(row["instructions_per_request"])]
        lines.append(cells)
    head = ["profiler", "requests/s", "of off", "p99, µs", "server's CPU, µs a request", "instructions a request"]
    return (
        f"An HTTP service on tokio under load, a sample every 512 KiB (`cargo bench --bench serve`, medians of "
        f"{runs(pick(rows))} runs in turns):\n\n" + table(head, lines)
    )


def idle(rows):
    lines = []
    for row in pick(rows, "heapward"):
        cells = [number(row["parameters"]["live_samples"]), significant(row["median"])]
        cells += [f"{row['percent_of_a_core']:.3f}%", *(significant(row[part] / MIB) for part in PARTS)]
        lines.append(cells)
    head = ["live samples", "CPU s an hour", "of a core", "MiB", "program's pages", "anonymous", "of it tables"]
    return "In a service that does nothing, beside the same without heapward (`cargo bench --bench idle`):\n\n" + table(
        head, lines
    )


PARTS = ["rss_bytes", "program_bytes", "anonymous_bytes", "tables_bytes"]


def bars(rows):
    lines = []
    for row in rows:
        if "bar" in row:
            verdict = {True: "met", False: "missed", None: f"not measured: {row['not_available']}"}[row["met"]]
            beside = {name: value for name, value in (row["beside"] or {}).items() if isinstance(value, (int, float))}
            # Time is what a busy machine gives: then the instructions beside it count.
            if beside.get("most", 0) > NOISY * beside.get("least", float("inf")):
                verdict += ", in rounds that differ much"
            notes = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in beside.items())
            cells = [f"`{row['bench']}`", row["bar"], f"{row['holds']} {row['limit']:g}"]
            lines.append([*cells, "–" if row["value"] is None else f"{row['value']:.3g}", verdict, notes])
    return "What it must hold to:\n\n" + table(["benchmark", "what", "bar", "measured", "", "beside it"], lines)


def section():
    parts, all_bars, machines, busy = [], [], {}, []
    for name, write in [("overhead", overhead), ("snapshot", snapshot), ("serve", serve), ("idle", idle)]:
        machine, rows = read(name)
        if rows:
            # Figures of an unwinder that needs another build, and its bars, are in that build's file.
            pointers_machine, pointers = read(f"{name}_frame_pointers")
            parts.append(write(rows + list(pick(pointers, "heapward (frame_pointers)"))))
            measured = {row["bar"]: row for row in pointers if row.get("met") is not None}
            all_bars += [
                measured.get(row["bar"], row) if row["met"] is None else row for row in rows if "bar" in row
            ]
            for which in [machine, pointers_machine]:
                if which:
                    busy.append(which)
                    machines[f"{which['cpu']}, {which['cores']} cores, Linux {which['kernel']}"] = None
    busy = [machine for machine in busy if machine["load_before"] > 0.5]
    if busy:
        print(f"the machine was not quiet: load {max(which['load_before'] for which in busy)}", file=sys.stderr)
    if not parts:
        sys.exit(f"no figures in {FIGURES}")
    named = "Measured on " + "; ".join(machines) + "."
    return "\n".join([BEGIN, named, "", *parts, bars(all_bars), END])


def main():
    text = README.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"README.md needs one line `{BEGIN}` and one line `{END}`")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    new = before + section() + after
    if "--check" in sys.argv[1:]:
        if new != text:
            sys.exit("README.md's table of costs is not what benches/figures say: run benches/readme_costs.py")
        print("README.md's table of costs is what benches/figures say")
    elif new != text:
        README.write_text(new)


if __name__ == "__main__":
    main()
