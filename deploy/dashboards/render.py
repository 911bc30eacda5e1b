#!/usr/bin/env python3
"""Draws the panels of callgate.json from what a Prometheus answers, as one SVG picture. Needs nothing but Python.

    render.py http://127.0.0.1:9090 OUT.svg [--minutes 15] [--step 5]

A panel whose queries have no data says so. The exit status is 0 if every query was answered.
"""

import argparse
import html
import json
import pathlib
import time
import urllib.parse
import urllib.request

COLOURS = ["#3274d9", "#e0752d", "#299c46", "#bf1b00", "#8f3bb8", "#c4a000", "#0a437c", "#508642", "#967302", "#58140c"]
WIDTH, HEIGHT, COLUMNS, GAP = 460, 250, 3, 12
LEFT, TOP, BOTTOM = 56, 30, 78


def ask(server, query, start, end, step):
    words = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{words}", timeout=30) as answer:
        told = json.load(answer)
    if told["status"] != "success":
        raise RuntimeError(f"{query}: {told}")
    return told["data"]["result"]


def legend(form, labels):
    for name, value in labels.items():
        form = form.replace("{{" + name + "}}", value)
    return form


def shown(value, unit):
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    if unit == "s":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if value * factor >= 1 or name == "µs":
                return f"{value * factor:.3g} {name}"
    if unit == "bytes":
        for factor, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value >= factor:
                return f"{value / factor:.3g} {name}"
        return f"{value:.0f} B"
    text = f"{value:.3g}" if value != int(value) else f"{int(value)}"
    return text + ("/s" if unit == "ops" else "")


def text(x, y, words, size=12, colour="#333", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{html.escape(words)}</text>'


def panel(one, series, start, end, x, y):
    unit = one["fieldConfig"]["defaults"]["unit"]
    out = [f'<g class="panel" transform="translate({x},{y})">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff" stroke="#ccc"/>',
           text(10, 20, one["title"], 13, "#000", 'font-weight="bold"')]
    points = [value for _, values in series for _, value in values]
    if not points:
        out += [text(WIDTH / 2 - 24, HEIGHT / 2, "no data", 13, "#999"), "</g>"]
        return out
    if one["type"] == "stat":
        for at, (name, values) in enumerate(series[:4]):
            out.append(text(WIDTH / 2, HEIGHT / 2 + 34 * at, shown(values[-1][1], unit), 30, COLOURS[at], 'text-anchor="middle"'))
        out += ["</g>"]
        return out
    low, high = min(points + [0]), max(points)
    high = high if high > low else low + 1
    right, floor = WIDTH - 12, HEIGHT - BOTTOM
    across = lambda at: LEFT + (at - start) / (end - start) * (right - LEFT)
    up = lambda value: floor - (value - low) / (high - low) * (floor - TOP)
    for part in (0, 0.5, 1):
        value = low + part * (high - low)
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#e5e5e5"/>')
        out.append(text(LEFT - 4, up(value) + 4, shown(value, unit), 10, "#666", 'text-anchor="end"'))
    for at, (name, values) in enumerate(series[:len(COLOURS)]):
        line = " ".join(f"{across(when):.1f},{up(value):.1f}" for when, value in values)
        out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[at]}" stroke-width="1.6"/>')
        column, row = at % 2, at // 2
        out.append(text(12 + column * WIDTH / 2, floor + 16 + row * 12, f"― {name}"[:38], 10, COLOURS[at]))
    out.append("</g>")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--step", type=int, default=5)
    options = parser.parse_args()
    end = time.time()
    start = end - options.minutes * 60
    dashboard = json.loads(pathlib.Path(__file__).with_name("callgate.json").read_text())
    drawn, at = [], 0
    for one in dashboard["panels"]:
        if one["type"] == "row":
            at += -at % COLUMNS
            continue
        series = []
        for target in one["targets"]:
            query = target["expr"].replace("$job", ".*").replace("$instance", ".*")
            query = query.replace("$__rate_interval", f"{options.step * 4}s")
            for found in ask(options.server, query, start, end, options.step):
                values = [(when, float(value)) for when, value in found["values"] if value not in ("NaN", "+Inf", "-Inf")]
                if values:
                    series.append((legend(target["legendFormat"], found["metric"]), values))
        x = GAP + (at % COLUMNS) * (WIDTH + GAP)
        y = GAP + (at // COLUMNS) * (HEIGHT + GAP)
        drawn += panel(one, series, start, end, x, y)
        at += 1
    rows = -(-at // COLUMNS)
    width, height = GAP + COLUMNS * (WIDTH + GAP), GAP + rows * (HEIGHT + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    back = f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>'
    pathlib.Path(options.out).write_text("\n".join([head, back, *drawn, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
