"""The trade-off plot of a comparison: distance from the population against reward, for policies and sweeps.

Takes metrics.json as a dict and gives SVG texts in the style of `plots`. The plot comes in two widths, for
a desk and for a phone, since text shrunk with the plot cannot be read. Points whose figures are missing are
left out.
"""

import itertools

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.ticker import MaxNLocator

from raterhf.reports.page import find, find_interval
from raterhf.reports.style import STYLE, WIDTH, canvas, colour, policy_colour, policy_name, svg_text


def draw(metrics):
    """dict: file name without suffix -> SVG text; empty when no policy and no sweep has both figures."""
    with rc_context(STYLE):
        sizes = {"tradeoff": (860, 500), "tradeoff-narrow": (WIDTH, 470)}
        plots = {name: tradeoff_plot(metrics, *size) for name, size in sizes.items()}
    return {name: svg for name, svg in plots.items() if svg}


def tradeoff_keys(metrics):
    """(quality, distance): the figures of the two axes, of each the first that any policy or sweep has."""
    rows = [r or {} for r in (metrics.get("policies") or {}).values()]
    rows += [r for sweep in (metrics.get("sweeps") or {}).values() for r in sweep or []]

    def first(*keys):
        return next((k for k in keys if any(r.get(k) is not None for r in rows)), keys[0])

    return first("reward_gold", "reward_proxy"), first("etv", "tv")


def tradeoff_plot(metrics, width, height):
    """A point for each policy, a line for each sweep; None when there is neither."""
    keys = tradeoff_keys(metrics)
    policies = {name: row or {} for name, row in (metrics.get("policies") or {}).items()}
    points = {name: [row.get(k) for k in keys] for name, row in policies.items()}
    points = {name: xy for name, xy in points.items() if None not in xy}
    sweeps = {}
    for name, rows in (metrics.get("sweeps") or {}).items():
        rows = [r for r in rows or [] if None not in (r.get(keys[0]), r.get(keys[1]))]
        sweeps[name] = [(r["beta"], r[keys[0]], r[keys[1]]) for r in sorted(rows, key=lambda r: r["beta"])]
    if not points and not any(sweeps.values()):
        return None
    figure, (ax,) = canvas(width, height, left=44, right=10, top=10, bottom=40)
    labels = draw_sweeps(ax, sweeps, every_beta=width > 500)
    marks = [(x, y) for rows in sweeps.values() for _, x, y in rows]
    xs = [x for x, _ in marks] + [x for name, (x, _) in points.items() if name != "base"]
    ys = [y for _, y in marks] + [y for _, y in points.values()]
    ax.set(xlim=limits(xs or [points["base"][0]], 0.12), ylim=limits([0, *ys], 0.1))
    path = "intervals", "policies"
    spans = {name: [find_interval(metrics, *path, name, key) for key in keys] for name in points}
    place_labels(figure, ax, draw_policies(ax, points, spans) + labels)
    draw_frame(ax, keys, find(metrics, "equal_gold", keys[0]))
    return svg_text(figure)


def draw_frame(ax, keys, equal):
    ax.axhline(0, color=colour("ink"), linewidth=1, zorder=1)
    if equal is not None:
        ax.axvline(equal, color=colour("ink"), linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        foot = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
        ax.annotate("equal gold reward", (equal, 0), (-4, 5), **foot, fontsize=10, ha="right")
    ax.grid(True)
    ax.set_xlabel(f"{'gold' if keys[0] == 'reward_gold' else 'proxy'} reward, higher is better →")
    ax.set_ylabel(f"← lower is better, distance ({keys[1]})")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def limits(values, margin):
    low, high = min(values), max(values)
    pad = margin * (high - low or 1.0)
    return low - pad, high + pad


def draw_sweeps(ax, sweeps, every_beta):
    """Lines in the order of beta; returns the betas to write beside their points: all, or the two ends."""
    labels = []
    for name, rows in sweeps.items():
        line = {"linewidth": 1.5, "linestyle": (0, (4, 2)) if name == "none" else "-", "alpha": 0.8}
        xs, ys = [x for _, x, _ in rows], [y for _, _, y in rows]
        ax.plot(xs, ys, color=policy_colour(name), marker="o", markersize=3.5, **line)
        shown = rows if every_beta else rows[:1] + rows[1:][-1:]
        labels += [(x, y, f"β {beta:g}", policy_colour(name), 8) for beta, x, y in shown]
    return labels


def draw_policies(ax, points, spans):
    """A marker for each policy, with its intervals; a base model far off stands at the edge and says so."""
    labels = []
    for name, (x, y) in points.items():
        text, shade, (low, high) = policy_name(name), policy_colour(name), ax.get_xlim()
        if name == "base" and x < low:
            text = f"← base model, at {x:.2f}".replace("-", "−")
            x = low + 0.01 * (high - low)
        else:
            across, along = spans[name]
            for span in ((across, (y, y)), ((x, x), along)):
                if None not in span:
                    ax.plot(*span, color=shade, linewidth=1, alpha=0.6)
        leading = name in ("vanilla", "rater_new")
        shape = {"marker": "o", "markersize": 9} if leading else {"marker": "D", "markersize": 6}
        fill = shade if leading or name == "base" else "none"
        ax.plot([x], [y], **shape, color=shade, markerfacecolor=fill, markeredgewidth=1.4, zorder=4)
        labels.append((x, y, text, shade, 11 if leading else 10))
    return labels


def place_labels(figure, ax, labels):
    """Write (x, y, text, colour, size) beside the points, each where it covers least, the first first.

    Boxes are [left, low, right, high] in pixels; `taken` are those of points, lines and earlier labels.
    """
    FigureCanvasSVG(figure)
    anchors = ax.transData.transform([label[:2] for label in labels])
    taken = np.concatenate([np.hstack([anchors - 5, anchors + 5]), line_boxes(ax)])
    frame = np.array([ax.get_window_extent().extents])
    to_data = ax.transData.inverted().transform
    for anchor, (*_, text, shade, size) in zip(anchors, labels, strict=True):
        label = ax.text(0, 0, text, color=shade, fontsize=size, va="center", ha="center", zorder=5)
        box, gap = best_place(anchor, label.get_window_extent().size, taken, frame)
        label.set_position(to_data((box[:2] + box[2:]) / 2))
        taken = np.vstack([taken, box])
        if gap > 14:
            nearest = np.clip(anchor, box[:2], box[2:])
            ax.plot(*to_data([anchor, nearest]).T, color=shade, linewidth=0.6, zorder=2)


def best_place(anchor, size, taken, frame):
    """(box, its gap to the point): near, on little that is taken, and above all inside the frame."""
    best = None
    for gap in (5, 7, 10, 16, 24, 36):
        for way in ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            corner = anchor + np.array(way) * (gap + size / 2) - size / 2
            box = np.concatenate([corner, corner + size])
            outside = size.prod() - overlap(box, frame)
            cost = gap + 2 * overlap(box, taken) + 9 * outside
            if best is None or cost < best[0]:
                best = cost, box, gap
    return best[1:]


def line_boxes(ax, step=5):
    """Small boxes, in pixels, every `step` along the lines drawn so far: [N, 4]."""
    boxes = np.empty((0, 4))
    for line in ax.lines:
        corners = ax.transData.transform(line.get_xydata())
        for start, end in itertools.pairwise(corners):
            along = np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / step))
            boxes = np.vstack([boxes, np.hstack([along - 1.5, along + 1.5])])
    return boxes


def overlap(box, others):
    """The area that `box` shares with each of `others`, [N, 4], summed."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return shared.clip(0).prod(1).sum()
