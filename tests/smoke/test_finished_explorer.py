"""The explorer of a finished grid, used in a browser as a person would."""

import json

import numpy as np
import pandas as pd
import pytest
from browser import browser, needs_chromium

TASKS = ("context_integration", "flip_flop", "memory_pro")
# Pages of all tasks move by the same code, and each move is drawn without a GPU.
MOVED = "flip_flop"
SPACE = "document.querySelectorAll('.space')"
DRAWN = f"[...{SPACE}].every(plot => plot._fullLayout && plot.data.length >= 5)"
BOX = "(box => [box.x, box.y, box.width, box.height])({space}[{side}].getBoundingClientRect())"


def choose(page, side, label):
    select = f"document.querySelectorAll('.network')[{side}]"
    page.evaluate(f"{select}.value = {json.dumps(label)}; {select}.dispatchEvent(new Event('change'))")


def crop(page, side, path=None):
    """What the window shows of one side's trajectories, once nothing moves any more."""
    x, y, width, height = (round(value) for value in page.evaluate(BOX.format(space=SPACE, side=side)))
    before = None
    for _ in range(100):
        image = page.screenshot(path)[y : y + height, x : x + width]
        if before is not None and np.array_equal(image, before):
            return image
        before = image
    raise AssertionError("the page never comes to rest")


def rotate_and_slide(page):
    """Drag one side with the mouse, and move the slider of both."""
    before = [crop(page, side) for side in (0, 1)]
    x, y, width, height = page.evaluate(BOX.format(space=SPACE, side=0))
    page.drag((x + width / 2, y + height / 2), (x + width / 2 + 120, y + height / 2 + 40))
    assert not np.array_equal(crop(page, 0), before[0]), "cannot be rotated"
    assert np.array_equal(crop(page, 1), before[1]), "the other side moves too"

    points = f"{SPACE}[0].data[0].x.filter(value => value !== null).length"
    whole = page.evaluate(points)
    slider = "document.getElementById('time')"
    page.evaluate(f"{slider}.value = 10; {slider}.dispatchEvent(new Event('input'))")
    page.wait(f"{points} < {whole}")
    times = page.evaluate("data.time.length")
    assert page.evaluate(points) == whole // times * 11
    assert not np.array_equal(crop(page, 1), before[1]), "the slider changes nothing"


def test_pages_are_small_and_ask_for_nothing(finished):
    for task in TASKS:
        path = finished / f"results/explorer/{task}.html"
        assert path.stat().st_size < 15e6
        assert "@DATA@" not in path.read_text()


@needs_chromium
@pytest.mark.parametrize("task", TASKS)
def test_two_networks_side_by_side(finished, task, tmp_path):
    table = pd.read_csv(finished / "results/tables/networks.csv").query("task == @task")
    with browser() as page:
        page.open(finished / f"results/explorer/{task}.html")
        page.wait(DRAWN)
        labels = page.evaluate("data.networks.map(network => network.label)")
        assert len(labels) == len(table)
        assert page.evaluate("[...document.querySelectorAll('.network')].map(one => one.value)") == [
            "insd/0/0",
            "insd/0/1",
        ]

        choose(page, 0, "standard-g1.5/1/0")
        choose(page, 1, "insd/1/2")
        for side, key in enumerate((("standard-g1.5", 1, 0), ("insd", 1, 2))):
            image = crop(page, side, tmp_path / "page.png")
            assert (image.min(axis=2) < 200).mean() > 0.01, "nothing is drawn"
            row = table.set_index(["population", "seed", "round"]).loc[key]
            shown = page.evaluate(f"document.querySelectorAll('.row')[{side}].innerText")
            assert f"{row['test_loss']:.4g}" in shown
            traces = page.evaluate(f"{SPACE}[{side}].data.slice(2, 5).map(trace => trace.x.length)")
            assert sum(traces) == row["n_fixed_points"] + row["n_slow_points"]
            spectra = page.evaluate(
                "[...document.querySelectorAll('.spectrum')].map(plot => plot.data.map(t => t.x.length))"
            )
            assert sum(spectra[side]) == 16 * sum(traces)

        if task == MOVED:
            rotate_and_slide(page)
        # A colour for every variable of the task.
        for colour in range(page.evaluate("data.colours.length")):
            select = "document.getElementById('colour')"
            page.evaluate(f"{select}.value = {colour}; {select}.dispatchEvent(new Event('change'))")
        page.is_quiet()
