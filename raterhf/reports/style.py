"""The one style of all plots: colours of the policies, canvases in pixels, SVG texts.

An SVG stands alone: mid-grey ink on no background, legible on white and on black. `inline` turns it into one for an HTML page, where its
colours are CSS variables of the same names and so follow the page's theme. One plot unit is one CSS pixel at the plot's own width.

Matplotlib is imported where something is drawn: it is slow, and most commands draw nothing.
"""

import io
import re

# name: colour in an SVG file, in a light page, in a dark page. Orange, blue and purple after Okabe and Ito.
COLOURS = {
    "ink": ("#737a86", "#1c222c", "#e6e9ee"),
    "faint": ("#b4b9c1", "#d9dde3", "#3b424e"),
    "population": ("#8a919c", "#858c97", "#a9b0bb"),
    "base": ("#b0558b", "#a8447f", "#e09ac4"),
    "vanilla": ("#d55e00", "#cf5a00", "#ff9447"),
    "raters": ("#0072b2", "#0069a8", "#5fb3f0"),
    "controls": ("#6f6e66", "#5c5b53", "#b9b7aa"),
}
# Answer classes in the coherence maps: the "light" scheme of Paul Tol, the last one for every later class.
CLASSES = "77aadd", "ee8866", "44bb99", "eedd88", "ffaabb", "99ddff", "bbcc33", "aaaa00", "bcbcbc"
COLOURS |= {f"class-{i}": (f"#{colour}",) * 3 for i, colour in enumerate(CLASSES)}
STYLE = {
    "font.size": 11,
    "font.family": ["sans-serif"],
    "text.color": COLOURS["ink"][0],
    "text.parse_math": False,  # answers are model output: a dollar is a dollar
    "axes.edgecolor": COLOURS["faint"][0],
    "axes.labelcolor": COLOURS["ink"][0],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.linewidth": 1,
    "grid.color": COLOURS["faint"][0],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["faint"][0],
    "ytick.color": COLOURS["faint"][0],
    "xtick.labelcolor": COLOURS["ink"][0],
    "ytick.labelcolor": COLOURS["ink"][0],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "raterhf",  # the same figures give the same bytes
}
# policy: what a reader calls it, and its colour
NAMES = {
    "population": ("population", "population"),
    "base": ("base model", "base"),
    "sft_no_ids": ("SFT without IDs", "controls"),
    "sft": ("SFT with IDs", "controls"),
    "vanilla": ("vanilla RLHF", "vanilla"),
    "vanilla_best_t": ("vanilla, best temperature", "vanilla"),
    "none": ("null rater", "controls"),
    "vanilla_sure": ("vanilla RLHF, surest answer", "vanilla"),
    "rater_known": ("known raters", "raters"),
    "rater_known_sure": ("known raters, surest answer", "raters"),
    "rater_new": ("fictitious raters", "raters"),
    "shuffled": ("IDs shuffled", "controls"),
    "text_ids": ("text IDs, known", "controls"),
    "text_new": ("text IDs, new", "controls"),
    "comparisons_only": ("comparisons only", "controls"),
}
WIDTH = 344  # pixels: a phone's, less its margins
LETTER = 6.2  # pixels: a generous mean width of a letter


def colour(name):
    return COLOURS[name][0]


def policy_name(policy):
    return NAMES[policy][0] if policy in NAMES else policy


def hue(policy):
    return NAMES[policy][1] if policy in NAMES else "controls"


def policy_colour(policy):
    return colour(hue(policy))


def file_name(name):
    return re.sub(r"[^\w-]", "_", name)


def inline(name, svg):
    """The <svg> element for an HTML page: colours are var(--NAME), ids are unique by the plot's name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(?<=[ "(])(id="|url\(#|xlink:href="#|href="#)', rf"\g<1>{name}-", svg)
    names = {values[0]: key for key, values in COLOURS.items()}

    def themed(style):
        return re.sub(r"#[0-9a-f]{6}", lambda m: f"var(--{names[m[0]]})" if m[0] in names else m[0], style[0])

    return re.sub(r'style="[^"]*"', themed, svg)


def canvas(width, height, left, right, top, bottom, rows=1, columns=1):
    """A figure of width x height pixels and its axes, row by row, on common scales, inside margins in pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0)
    grid = {"left": left / width, "right": 1 - right / width, "hspace": 0.35, "wspace": 0.16}
    grid |= {"top": 1 - top / height, "bottom": bottom / height}
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True, gridspec_kw=grid)
    for ax in axes.flat:
        ax.patch.set_alpha(0)
    return figure, axes.ravel()


def svg_text(figure):
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=no_metadata)
    return buffer.getvalue()


def short(text, limit=20):
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legend(figure, measured):
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches() * 72
    x = 6
    for name in measured:
        square = Rectangle((x / width, 1 - 16 / height), 10 / width, 10 / height, color=policy_colour(name))
        figure.add_artist(square)
        label = policy_name(name)
        figure.text((x + 14) / width, 1 - 15.5 / height, label, va="baseline")
        x += 14 + LETTER * len(label) + 14
