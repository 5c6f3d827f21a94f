import pandas as pd
import pytest

from insd.report import LiveNumbers, ReportError, escaped, table_page


@pytest.fixture
def numbers(tmp_path):
    rows = [
        ("standards_solved", "standards solved", "4 of 4", "4 of 4"),
        ("r2_null", "null-space r²", ".98", ".98"),
        ("r2_null_shuffled", "... shuffled", ".1", ".1"),
        ("a:alternatives_solved", "a: alternatives_solved", None, "1 of 2"),
        ("b:alternatives_solved", "b: alternatives_solved", None, "2 of 2"),
        ("score/standards", "score, standards", "1", "1"),
        ("b:score/alt_1", "b: score, alt-1", None, "0"),
        ("score_at_hardest_point/standards", "score there, standards", ".5", ".5"),
    ]
    columns = ["id", "statement", "flip_flop", "memory_pro"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "summary.csv", index=False)
    claims = [
        {"task": "flip_flop", "id": "one", "claim": "a|b", "number": "1 of 2", "verdict": "partly"},
        {"task": "flip_flop", "id": "two", "claim": "c", "number": "0", "verdict": "not"},
    ]
    pd.DataFrame(claims).to_csv(tmp_path / "claims.csv", index=False)
    return LiveNumbers(str(tmp_path / "summary.csv"), str(tmp_path / "claims.csv"), 0.95)


def test_statements_by_their_ids(numbers):
    assert numbers.tasks() == ["flip_flop", "memory_pro"]
    assert numbers.group("flip_flop", "r2_null", "r2_null_shuffled") == [
        ("null-space r²", ".98"),
        ("... shuffled", ".1"),
    ]
    assert numbers.group("flip_flop", "r2_null") == [("null-space r²", ".98")]
    assert numbers.group("flip_flop", "standards_solved") == [("standards solved", "4 of 4")]


def test_statements_of_every_population_and_group(numbers):
    assert numbers.group("memory_pro", "score") == [("score, standards", "1"), ("b: score, alt-1", "0")]


def test_statements_without_a_value_are_left_out(numbers):
    assert numbers.group("flip_flop", "alternatives_solved") == []
    assert numbers.group("memory_pro", "alternatives_solved") == [
        ("a: alternatives\\_solved", "1 of 2"),
        ("b: alternatives\\_solved", "2 of 2"),
    ]


def test_verdicts_by_task_and_id(numbers):
    both = [("flip flop: a\\|b", "1 of 2", "partly"), ("flip flop: c", "0", "not")]
    assert numbers.verdicts("flip_flop") == numbers.verdicts() == both
    assert numbers.verdicts("memory_pro") == []
    assert numbers.verdicts(ids=["two"]) == both[1:]
    assert numbers.verdicts("flip_flop", ids=["none"]) == []


@pytest.mark.parametrize("confidence, text", [(0.95, "95 %"), (0.57, "57 %"), (0.999, "99.9 %")])
def test_the_level_of_intervals(confidence, text):
    assert LiveNumbers("", "", confidence).level == text


def test_what_is_missing_is_named(numbers, tmp_path):
    with pytest.raises(ReportError, match="has no statement on cycles"):
        numbers.group("flip_flop", "cycles")
    with pytest.raises(ReportError, match="has no task 'go', only flip_flop, memory_pro"):
        numbers.group("go", "solved")
    with pytest.raises(ReportError, match=r"nothing.csv: there is no such file.*run the workflow before its report"):
        LiveNumbers(str(tmp_path / "nothing.csv"), "", 0.95).tasks()


def test_escaped_text():
    assert escaped("a_b *c* |d| `e`") == "a\\_b \\*c\\* \\|d\\| \\`e\\`"


def test_a_table_as_a_page():
    frame = pd.DataFrame({"name": ["<b>", None], "value": [1.23456789, 2.0], "solved": [True, False]})
    text = table_page(frame, "a & b")
    assert "<title>a &amp; b</title>" in text
    assert '<td class="text">&lt;b&gt;</td><td class="">1.235</td>' in text
    assert '<td class="text"></td>' in text
    assert "http" not in text and "title=" not in text
    assert '<th class="text" title="its name; &quot;x&quot;">name</th>' in table_page(
        frame, "a", {"name": 'its name; "x"'}
    )
