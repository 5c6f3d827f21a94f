import pandas as pd
import pytest

from insd.report import LiveNumbers, ReportError, escaped, table_page


@pytest.fixture
def numbers(tmp_path):
    rows = {"standards solved": "4 of 4", "null-space r²": ".98", "... shuffled": ".1", "alternatives_solved": None}
    frame = pd.DataFrame({"flip_flop": rows, "memory_pro": {**rows, "alternatives_solved": "1 of 2"}})
    frame.to_csv(tmp_path / "summary.csv", index_label="statement")
    row = {"task": "flip_flop", "claim": "a|b", "number": "1 of 2", "verdict": "partly"}
    pd.DataFrame([row]).to_csv(tmp_path / "claims.csv", index=False)
    return LiveNumbers(str(tmp_path / "summary.csv"), str(tmp_path / "claims.csv"))


def test_statements_come_with_what_goes_on_below_them(numbers):
    assert numbers.tasks() == ["flip_flop", "memory_pro"]
    assert numbers.group("flip_flop", "null-space") == [("null-space r²", ".98"), ("... shuffled", ".1")]
    assert numbers.group("flip_flop", "standards") == [("standards solved", "4 of 4")]


def test_statements_without_a_value_are_left_out(numbers):
    assert numbers.group("flip_flop", "alternatives") == []
    assert numbers.group("memory_pro", "alternatives") == [("alternatives\\_solved", "1 of 2")]


def test_verdicts_by_task(numbers):
    assert numbers.verdicts("flip_flop") == numbers.verdicts() == [("flip flop: a\\|b", "1 of 2", "partly")]
    assert numbers.verdicts("memory_pro") == []


def test_what_is_missing_is_named(numbers, tmp_path):
    with pytest.raises(ReportError, match="has no statement on cycles"):
        numbers.group("flip_flop", "cycles")
    with pytest.raises(ReportError, match="has no task 'go', only flip_flop, memory_pro"):
        numbers.group("go", "solved")
    with pytest.raises(ReportError, match=r"nothing.csv: there is no such file.*run the workflow before its report"):
        LiveNumbers(str(tmp_path / "nothing.csv"), "").tasks()


def test_escaped_text():
    assert escaped("a_b *c* |d| `e`") == "a\\_b \\*c\\* \\|d\\| \\`e\\`"


def test_a_table_as_a_page():
    frame = pd.DataFrame({"name": ["<b>", None], "value": [1.23456789, 2.0], "solved": [True, False]})
    text = table_page(frame, "a & b")
    assert "<title>a &amp; b</title>" in text
    assert '<td class="text">&lt;b&gt;</td><td class="">1.235</td>' in text
    assert '<td class="text"></td>' in text
    assert "http" not in text
