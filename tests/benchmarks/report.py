"""What was measured, as text and as a picture."""

from __future__ import annotations

#: From a unit to its larger and smaller relatives.
SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "bytes": ((1e6, "MB"), (1e3, "kB"), (1, "B")),
    "": ((1, ""),),
}


def as_text(report):
    """Write the table, the versions, and what was skipped."""
    header = ("case", "threads", "contender", "quantity", "median", "quartiles", "target", "")
    table = [header, *(cells(row) for row in report["rows"])]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    judged = [row["met"] for row in report["rows"] if row["met"] is not None]
    versions = [f"{name} {version['version']}" for name, version in report["versions"].items()]
    lines += [
        "",
        "A ratio is microgrand's median to the contender's: below 1, microgrand needs less.",
        "Memory is how much a process grows by: training graphs below a megabyte may fit into "
        "what it has.",
        f"Targets met: {sum(judged)} of {len(judged)}.",
        f"{', '.join(versions)}; {report['cores']} cores.",
    ]
    if (report["load_average_before"] or 0) > 0.5:
        load = f"{report['load_average_before']:.1f}"
        lines.append(f"Other programs were running (load average {load}): do not trust the times.")
    lines += [f"Skipped: {what}: {why}" for what, why in report["skipped"].items()]
    return "\n".join(lines)


def cells(row):
    """Write one row of the table."""
    low, high = row["quartiles"]
    return (
        row["case"],
        str(row["threads"] or ""),
        row["contender"],
        row["quantity"],
        amount(row["median"], row["unit"]),
        f"{amount(low, row['unit'])} to {amount(high, row['unit'])}",
        "" if row["target"] is None else f"at most {amount(row['target'], row['unit'])}",
        {None: "", True: "met", False: "NOT MET"}[row["met"]],
    )


def amount(value, unit):
    """Write a number with three digits and a unit that suits it.

    >>> amount(0.00123456, "s"), amount(2500.0, "bytes"), amount(0.5, "")
    ('1.23 ms', '2.5 kB', '0.5')
    """
    scales = SCALES[unit]
    factor, name = next((pair for pair in scales if abs(value) >= pair[0]), scales[-1])
    return f"{value / factor:.3g} {name}".strip()


def draw(report, path):
    """Draw the ratios that have a target, and the scaling series, with matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = report["rows"]
    ratios = [row for row in rows if row["unit"] == "" and row["series"] is None]
    names = list(dict.fromkeys(row["series"][0] for row in rows if row["series"]))
    heights = [1 + 0.22 * len(ratios), 6 if names else 0.01]
    figure = plt.figure(figsize=(12, sum(heights)), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=heights)
    draw_ratios(top.subplots(), ratios)
    if names:
        grid = bottom.subplots(2, len(names), squeeze=False)
        for i, name in enumerate(names):
            for axis, quantity in zip(grid[:, i], ("time", "memory"), strict=True):
                points = [row for row in rows if row["series"] and row["series"][0] == name]
                draw_series(axis, name, quantity, points)
    figure.savefig(path)
    plt.close(figure)


def draw_ratios(axis, rows):
    """Draw a line a ratio: median, quartiles, and the target as a bar."""
    for y, row in enumerate(rows):
        color = {None: "tab:gray", True: "tab:green", False: "tab:red"}[row["met"]]
        axis.plot(row["quartiles"], [y, y], color=color, linewidth=2)
        axis.plot(row["median"], y, "o", color=color)
        if row["target"] is not None:
            axis.plot(row["target"], y, "|", color="black", markersize=12)
    labels = [
        f"{row['case']}, threads: {row['threads']}, {row['quantity']} to {row['contender']}"
        for row in rows
    ]
    axis.set(yticks=range(len(rows)), yticklabels=labels, xscale="log")
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_title("microgrand's ratio to others (left of 1: it needs less); bars are targets")
    axis.axvline(1, color="black", linewidth=0.5)
    axis.tick_params(labelsize=7)
    axis.invert_yaxis()


def draw_series(axis, name, quantity, rows):
    """Draw a line a contender and number of threads; dashed from the second number on."""
    rows = [row for row in rows if row["quantity"] == quantity]
    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    for i, contender in enumerate(contenders):
        for j, count in enumerate(threads):
            # What is too small to be measured has no place on a logarithmic axis.
            line = [
                row
                for row in rows
                if (row["contender"], row["threads"]) == (contender, count) and row["median"] > 0
            ]
            axis.plot(
                [row["series"][1] for row in line],
                [row["median"] for row in line],
                "o-" if j == 0 else "o--",
                color=f"C{i}",
                markersize=3,
                label=f"{contender}, threads: {count}",
            )
    each = " an operation" if name == "length" else ""
    unit = "seconds" if quantity == "time" else "bytes of graph"
    axis.set(xscale="log", yscale="log", xlabel=name, ylabel=f"{unit}{each}")
    axis.legend(fontsize=6)
