"""The report of a finished grid, opened in a browser."""

import json
import re

import pandas as pd
import pytest
from browser import browser, needs_chromium
from conftest import snakemake


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    result = snakemake(finished, "--report", str(path), "--configfile", "config/smoke.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    return path


@needs_chromium
def test_every_figure_and_table_is_shown_with_its_caption(report, finished):
    with browser() as page:
        page.open(report)
        page.wait("typeof app != 'undefined' && document.querySelector('.prose') != null")
        assert "flip_flop" in page.evaluate("document.querySelector('.prose').innerText")
        # The verdicts stand on the first page.
        rows = page.evaluate("[...document.querySelectorAll('.prose tr')].map(row => row.innerText).join('|')").split(
            "|"
        )
        claims = pd.read_csv(finished / "results/tables/claims.csv")
        assert len(rows) == 1 + len(claims) and all(
            claim in row and verdict in row
            for row, claim, verdict in zip(rows[1:], claims["claim"], claims["verdict"], strict=True)
        )
        assert set(page.evaluate("Object.keys(categories)")) == {
            *("context integration", "flip flop", "memory pro", "all tasks", "tables")
        }
        results = json.loads(page.evaluate("JSON.stringify(results)"))
        shown = {path.name for path in finished.glob("results/figures/*.svg")}
        shown |= {path.name for path in finished.glob("results/tables/*") if path.suffix in (".csv", ".html")}
        assert {entry["name"] for entry in results.values()} == shown
        for path, entry in results.items():
            assert entry["labels"], path
            assert len(re.sub("<[^>]*>", "", entry["caption"]).split()) >= 8, f"{path}: has no caption"
            assert "system-message" not in entry["caption"], f"{path}: {entry['caption']}"
            kind = {"svg": "img", "html": "html"}.get(path.rsplit(".", 1)[-1])
            if kind is None:
                continue
            name = json.dumps(path)
            page.evaluate(f"app.showResultInfo({name})")
            page.evaluate(f"app.setView({{content: '{kind}', contentPath: results[{name}].data_uri}})")
            tag = {"img": "img", "html": "iframe"}[kind]
            element = f"[...document.querySelectorAll('{tag}')].find(one => one.src == results[{name}].data_uri)"
            page.wait(f"{element} != null")
            if kind == "img":
                page.wait(f"{element}.complete")
                assert page.evaluate(f"{element}.naturalWidth") > 200, f"{path}: is not shown"
            screen = page.screenshot()[:, 500:]
            assert (screen.min(axis=2) < 128).mean() > 0.002, f"{path}: its place is blank"
            # What the caption says first stands beside it.
            first = re.sub("<[^>]*>", "", entry["caption"]).split()[0].rstrip(".,")
            assert first in page.evaluate("document.getElementById('app').innerText"), f"{path}: caption is not shown"
        page.is_quiet()


def test_captions_carry_the_numbers_of_the_tables(report, finished):
    text = report.read_text()
    summary = pd.read_csv(finished / "results/tables/summary.csv", index_col="id")
    values = summary.loc["r2_null_between_standards"].drop("statement")
    assert len(values) == 3
    for value in values:
        assert f"null-space r\\u00b2 between standards: {value}" in text
    assert "alternatives solved: 0 of 4" in text
    # The rest of the report's own data is not looked at: it would contain any word.
    assert "Undefined" not in "".join(re.findall(r'"caption": "(.*?)(?<!\\)"', text))
