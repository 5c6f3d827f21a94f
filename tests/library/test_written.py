"""Config files that YAML reads differently from what they seem to say."""

from pathlib import Path

import pytest

from insd.settings.base import SettingsError
from insd.settings.written import check_left_out, check_new, check_written

ROOT = Path(__file__).parents[2]


def refusal(tmp_path, text):
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        check_written(tmp_path / "my.yaml")
    first, *problems = str(refused.value).splitlines()
    assert first == "the config cannot be used:"
    return [line.removeprefix(f"  - {tmp_path}/my.yaml, ") for line in problems]


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            "defaults: {network: {units: 50}}\n\ndefaults: {training: {iterations: 9}}\n",
            "lines 1 and 3: defaults is given twice; make one of both",
        ),
        (
            "populations:\n  a: {seeds: 1}\n  b: {seeds: 1, seeds: 2}\n",
            "lines 3 and 3: populations.b.seeds is given twice; make one of both",
        ),
        ("populations:\n  no: {seeds: 1}\n", "line 2: populations.no: YAML reads this name as false; quote it: 'no'"),
        (
            "populations: {2024_01: {seeds: 1}}",
            "line 1: populations.2024_01: YAML reads this name as 202401; quote it: '2024_01'",
        ),
        ("populations: {~: {}}", "line 1: populations.~: YAML reads this name as null; quote it: '~'"),
        (
            "populations: {a: {seeds: 1:30}}",
            "line 1: populations.a.seeds = 1:30: YAML reads this as 90; write that, or quote it: '1:30'",
        ),
        ("a: &x [*x]\n", "line 1: this anchor holds itself; write out what is meant"),
        ("a:\n  &x b: {c: &y {d: *y}}\n", "line 2: this anchor holds itself; write out what is meant"),
        (
            "figures: {chain: on}",
            "line 1: figures.chain = on: YAML reads this as true; write that, or quote it: 'on'",
        ),
        (
            "populations: {a: {tasks: [1_0]}}",
            "line 1: populations.a.tasks.0 = 1_0: YAML reads this as 10; write that, or quote it: '1_0'",
        ),
    ],
)
def test_what_yaml_reads_as_something_else_is_refused(tmp_path, text, problem):
    assert refusal(tmp_path, text) == [problem]


def test_what_yaml_reads_as_it_is_written_passes(tmp_path):
    text = """
    base: &base {gain: 1.0e-3, ridge: .5, exact: true, other: false, nothing: null, empty: , path: 'no', size: -3}
    more: {<<: *base, gain: 2}
    '2024_01': {names: ["on", a:b, 12:x]}
    again: [*base, *base]
    """
    (tmp_path / "my.yaml").write_text(text)
    check_written(tmp_path / "my.yaml")


@pytest.mark.parametrize("text", ["", "a: [", "\x00", "- 1"])
def test_files_that_are_not_configs_are_left_to_snakemake(tmp_path, text):
    (tmp_path / "my.yaml").write_text(text)
    check_written(tmp_path / "my.yaml")


def test_a_number_that_begins_with_a_zero_is_of_base_8(tmp_path):
    file = tmp_path / "octal.yaml"
    file.write_text("seeds: 010\nrounds: 0\n")
    with pytest.raises(SettingsError, match=r"line 1: seeds = 010: YAML reads this as 8"):
        check_written(file)


def test_a_null_that_leaves_out_nothing_is_refused(tmp_path):
    below, above, more = (tmp_path / f"{name}.yaml" for name in ("below", "above", "more"))
    below.write_text("tasks: {flip_flop: {}}\npopulations: {standard-g1.0: {seeds: 2}, insd: {}}\n")
    above.write_text("tasks: {flip_flop: null, ring: {}}\npopulations: {insd: null, standrd-g1.0: null, zzz: null}\n")
    more.write_text("populations: {zzz: {}}\n")
    # In the order that Snakemake has them, and with the lowest twice.
    with pytest.raises(SettingsError) as refused:
        check_left_out([above, more, below, below])
    assert str(refused.value).splitlines()[1:] == [
        f"  - {above}, populations.standrd-g1.0 = null: leaves out nothing, since no other config file has it; is it "
        "standard-g1.0?"
    ]
    with pytest.raises(SettingsError, match=r"populations\.zzz = null: .* it; they have: standard-g1\.0, insd$"):
        check_left_out([above, below])
    # Alone, a file lies over nothing.
    check_left_out([above])


def test_what_the_files_here_leave_out_is_there():
    for file in sorted((ROOT / "config").glob("**/*.yaml")):
        # One that is laid over a study has the name of that study in front of its own.
        below = [other for other in file.parent.glob("*.yaml") if file.stem.startswith(f"{other.stem}_")]
        check_left_out([file, *below, ROOT / "config/config.yaml"])


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("standrad", "seeds: 5", "is it standard? For a new one with the settings of `defaults`, add `make: train`"),
        ("isnd", "rounds: 4, seeds: 2", "is it insd? For a new one with"),
        ("insdd", "rounds: 4, alternatives: {}", "is it insd? A new one needs the key `seeds`"),
        ("gain-0.1", "network: {units: 20}", "is it gain-0.01? A new one needs the key `seeds`"),
    ],
)
def test_a_misspelt_population_is_refused(tmp_path, name, keys, said):
    below, above = tmp_path / "config.yaml", tmp_path / "above.yaml"
    below.write_text("populations: {standard: {seeds: 2}, insd: {seeds: 2, rounds: 3}, gain-0.01: {seeds: 2}}\n")
    above.write_text(f"populations: {{insd: {{seeds: 1}}, {name}: {{{keys}}}}}\n")
    for files in ([below, above], [above, below, above]):
        with pytest.raises(SettingsError) as refused:
            check_new(files)
        (line,) = str(refused.value).splitlines()[1:]
        assert line.startswith(f"  - {above}, populations.{name}: no other config file has this population; {said}")


@pytest.mark.parametrize(
    ("entry", "warned"),
    [
        ("standard-g0.5: {seeds: 5, network: {gain: 0.5}}", False),
        ("standard-g0.5: {seeds: 5}", True),
        ("standrad-g0.01: {seeds: 5, network: {gain: 0.5}}", True),
        ("standard-long: {seeds: 5}", False),
        ("rate-standard: {seeds: 5}", False),
        ("untrained: {seeds: 5}", False),
        ("insd2: {seeds: 5, rounds: 3, reference: insd}", False),
        # Its name is free.
        ("wnader: {seeds: 5}", False),
        ("isnd: {seeds: 5, make: train}", True),
        ("other: 5", False),
    ],
)
def test_a_new_population_is_not_refused(tmp_path, caplog, entry, warned):
    below, above = tmp_path / "config.yaml", tmp_path / "above.yaml"
    names = ("standard-g0.01", "standard", "constrained", "insd", "wander")
    below.write_text(f"populations: {{{', '.join(f'{name}: {{seeds: 2, network: {{}}}}' for name in names)}}}\n")
    above.write_text(f"populations: {{standard: {{seeds: 1}}, wander: null, {entry}}}\n")
    check_new([below, above], warn=False)
    assert not caplog.messages
    check_new([below, above])
    check_new([above])
    assert len(caplog.messages) == warned
    assert all(f"{above}, populations.{entry.partition(':')[0]}: no other" in line for line in caplog.messages)


def test_what_the_files_here_add_is_new(caplog):
    for file in sorted((ROOT / "config").glob("**/*.yaml")):
        check_new([file, file.with_name(file.name.replace("_full", "")), ROOT / "config/config.yaml"])
    assert not caplog.messages
