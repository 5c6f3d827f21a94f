"""Readers of networks: what each declares, the complete equivariant layer, and what needs the transpose."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.pyplot import close
from scipy.linalg import null_space
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from insd import plugins
from insd.analysis.base import Job
from insd.claims.base import Evidence
from insd.datasets import validate, write
from insd.figures.readers import readers_figure
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.rate import RateRNN
from insd.networks.settings.base import network_settings
from insd.readers import graph
from insd.readers.base import SCALED, Reader, ReaderError, Sizes, Weights, make_reader
from insd.readers.check import check_reader, random_networks
from insd.readers.equivariant_layer import EquivariantLayer
from insd.readers.fitting import Question, answer, fit, read, roc_area
from insd.readers.settings.base import Fitting, ReaderSettings
from insd.readers.settings.equivariant import EquivariantSettings
from insd.readers.settings.graph import GraphSettings
from insd.readers.settings.probing import ProbingSettings
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.tables.readings import COLUMNS, readings
from insd.tasks.flip_flop import FlipFlop

SETTINGS = {
    "equivariant": [{}, {"maps": "without_transpose"}],
    "graph": [{}, {"layer": "attention"}],
    "probing": [{"steps": 4}, {"steps": 4, "interactive": True}],
}


@pytest.mark.parametrize(
    "name, settings", [(name, one) for name in plugins.names("reader") for one in SETTINGS.get(name, [{}])]
)
def test_every_reader_keeps_its_promises(name, settings):
    check_reader(name, **settings)


class Fixed(Reader):
    """A reader without parameters."""

    def prepare(self, networks):
        pass

    def forward(self, networks):
        return networks.recurrent.mean((1, 2))[:, None].expand(-1, self.answers)


def test_a_reader_that_cannot_be_trained_is_refused():
    with pytest.raises(ReaderError, match="Fixed: has no parameters that could be trained"):
        check_reader(f"{__name__}:Fixed")


def maps_of(layer, kind, units):
    """One matrix per weight of a layer of one channel: the linear maps that it is made of, without its constants."""
    sizes = {"matrix": (units, units), "vector": (units,)}
    source, target = (sizes[one] for one in kind)
    basis = torch.eye(int(np.prod(source)), dtype=torch.float64).reshape(-1, *source)
    count = len(basis)
    matrices = basis if kind[0] == "matrix" else torch.zeros(count, units, units, dtype=torch.float64)
    vectors = basis if kind[0] == "vector" else torch.zeros(count, units, dtype=torch.float64)
    layer = layer.double()
    found = []
    with torch.no_grad():
        for parameter in layer.parameters():
            for number in range(parameter.numel() if parameter.dim() == 2 else 0):
                for other in layer.parameters():
                    other.zero_()
                parameter.view(-1)[number] = 1
                given = layer(matrices[..., None], vectors[..., None])[kind[1] == "vector"][..., 0]
                found.append(given.reshape(count, -1).T.numpy())
    return [one for one in found if np.any(one)], int(np.prod(target))


def commutant(kind, units):
    """A basis of all linear maps that commute with permutations: the null space of that constraint."""
    constraints = []
    for order in permutations(range(units)):
        permutation = np.eye(units)[list(order)]
        acting = {"matrix": np.kron(permutation, permutation), "vector": permutation}
        source, target = (acting[one] for one in kind)
        # Row by row, A X B is (A kron B') x: T X - X S = 0.
        constraints.append(np.kron(target, np.eye(len(source))) - np.kron(np.eye(len(target)), source.T))
    return null_space(sum(one.T @ one for one in constraints), rcond=1e-9)


@pytest.mark.parametrize(
    "source, target, count",
    [("matrix", "matrix", 15), ("vector", "matrix", 5), ("matrix", "vector", 5), ("vector", "vector", 2)],
)
def test_the_layer_has_every_map_that_commutes_with_permutations_once(source, target, count):
    kind, units = (source, target), 4 if source == target == "matrix" else 3
    found, _ = maps_of(EquivariantLayer((1, 1), (1, 1)), kind, units)
    basis = commutant(kind, units)
    assert len(found) == basis.shape[1] == count
    flat = np.stack([one.ravel() for one in found])
    assert np.linalg.matrix_rank(flat) == count
    np.testing.assert_allclose(flat @ basis @ basis.T, flat, atol=1e-9)


@pytest.mark.parametrize("maps, count", [("complete", 15), ("without_transpose", 6)])
def test_what_a_layer_makes_of_random_matrices_has_full_rank(maps, count):
    # Two of them: of a single one, its trace everywhere and its sum everywhere are multiples of each other.
    matrices = np.random.default_rng(0).standard_normal((36, 2))
    found, _ = maps_of(EquivariantLayer((1, 1), (1, 1), maps), ("matrix", "matrix"), 6)
    assert np.linalg.matrix_rank(np.stack([(one @ matrices).ravel() for one in found])) == len(found) == count


@pytest.fixture(scope="module")
def regular():
    """Networks of weights of 1 and -1 whose rows and columns all have the same sums, more or less symmetric, and
    whether they are less normal than most."""
    count, units, random = 240, 7, np.random.default_rng(1)
    around = np.abs(np.subtract.outer(range(units), range(units)))
    found = []
    for number in range(count):
        # Four neighbours each, and then switches of the targets of two edges, which leave all sums as they are.
        edges = np.isin(around, (1, 2, units - 1, units - 2))
        for _ in range(1 if number % 2 else 30):
            pairs = np.argwhere(edges)
            (to, start), (other_to, other_start) = pairs[random.choice(len(pairs), 2, replace=False)]
            if len({to, start, other_to, other_start}) == 4 and not edges[to, other_start] | edges[other_to, start]:
                edges[[to, other_to], [start, other_start]] = False
                edges[[to, other_to], [other_start, start]] = True
        order = random.permutation(units)
        found.append((2.0 * edges - 1 + np.eye(units))[order][:, order])
    matrices = np.stack(found)
    far = np.linalg.norm(matrices @ matrices.mT - matrices.mT @ matrices, axis=(1, 2))
    blank = random_networks(count, Sizes(units, 1, 1), seed=0)
    networks = replace(blank, **{name: torch.zeros_like(getattr(blank, name)) for name in SCALED})
    return replace(networks, recurrent=torch.from_numpy(matrices).float()), (far > np.median(far)).astype(float)


def test_whether_a_matrix_is_normal_is_read_by_the_complete_layer(regular):
    networks, truth = regular
    settings, fitting = EquivariantSettings(channels=[8], hidden=16), Fitting(epochs=15, batch=20, step_size=3e-3)
    known, held_out = np.arange(160), np.arange(160, 240)
    reader = fit("equivariant", settings, networks.select(known), truth[known], 2, fitting, seed=0)
    answers = answer(reader, networks.select(held_out), 2)
    assert roc_auc_score(truth[held_out], answers[:, 1]) > 0.9


@pytest.mark.parametrize("maps, least, most", [("complete", 1e-3, np.inf), ("without_transpose", 0, 1e-6)])
def test_without_transpose_regular_networks_are_all_the_same_to_a_reader(regular, maps, least, most):
    networks, _ = regular
    reader = make_reader("equivariant", EquivariantSettings(maps=maps), networks.sizes, 2, seed=0)
    with torch.no_grad():
        spread = float(np.ptp(reader(networks).numpy(), axis=0).max())
    assert least <= spread <= most


def test_attention_is_the_sum_over_edges_of_its_formula():
    layer = graph._Attention(3, updates_edges=False).double()
    nodes, edges = (torch.randn(*shape, 3, dtype=torch.float64) for shape in ((1, 4), (1, 4, 4)))
    present = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    received = {}
    layer.received.register_forward_pre_hook(lambda _, inputs: received.setdefault("by node", inputs[0]))
    with torch.no_grad():
        layer(nodes, edges, present)
        h, e = nodes[0].numpy(), edges[0].numpy()
        q, k, v = (one.weight.numpy() for one in (layer.queries, layer.keys, layer.values))
        of_edge = e @ layer.of_pairs.weight.numpy().T + layer.of_pairs.bias.numpy()
    for i in range(4):
        heard = np.flatnonzero(present[i])
        scores = [(q @ h[i] + of_edge[i, j, :3]) @ (k @ h[j] + of_edge[i, j, 3:6]) / np.sqrt(3) for j in heard]
        values = [v @ h[j] + of_edge[i, j, 6:] for j in heard]
        expected = sum(np.exp(one) * value for one, value in zip(scores, values, strict=True)) / np.exp(scores).sum()
        np.testing.assert_allclose(received["by node"][0, i], expected)


def test_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(2)
    scores = random.integers(0, 10, (60, 3)) / 10
    truth = random.integers(0, 3, 60).astype(float)
    areas = [roc_auc_score(truth == one, scores[:, one]) for one in range(3)]
    assert [roc_area(scores[:, one], truth == one) for one in range(3)] == pytest.approx(areas)
    assert Question("of three", truth, 3).score(scores, truth) == pytest.approx(np.mean(areas))
    assert np.isnan(roc_area(scores[:, 0], np.ones(60, bool)))


@pytest.fixture(scope="module")
def chains():
    """Networks of 40 chains, three each, of which the size of the recurrent weights says the place in the chain."""
    networks = random_networks(120, Sizes(5, 1, 2), seed=3)
    place = np.tile(np.arange(3.0), 40)
    recurrent = networks.recurrent * torch.from_numpy(1 + 0.3 * place).float()[:, None, None]
    return replace(networks, recurrent=recurrent), place, [f"insd/{number}" for number in np.repeat(np.arange(40), 3)]


FITTING = Fitting(folds=4, epochs=10, batch=16, step_size=1e-2)


def test_chains_stay_together_and_shuffled_classes_are_at_chance(chains):
    networks, place, names = chains
    asked = np.where(place == 1, np.nan, place / 2)
    question = Question("first or last", asked, 2)
    found = read("norms", ReaderSettings(), networks, question, names, FITTING, seed=0)
    assert len(found.answers) == 80 and found.score > 0.9
    assert all(len(np.unique(found.folds[found.chains == chain])) == 1 for chain in range(40))
    np.testing.assert_allclose(found.answers.sum(1), 1, atol=1e-6)

    draws = found.draws(100, seed=1)
    assert np.quantile(draws, 0.025) <= found.score <= np.quantile(draws, 0.975)
    shuffled = read("norms", ReaderSettings(), networks, question.shuffled(5), names, FITTING, seed=0)
    assert abs(shuffled.score - 0.5) < 0.2 < found.score - shuffled.score


def test_numbers_are_scored_by_kendalls_tau(chains):
    networks, place, names = chains
    found = read("norms", ReaderSettings(), networks, Question("place", place), names, FITTING, seed=0)
    of_parts = [kendalltau(found.answers[found.folds == part, 0], place[found.folds == part])[0] for part in range(4)]
    np.testing.assert_allclose(found.scores, of_parts)
    assert found.score > 0.5


def test_too_few_chains_are_refused(chains):
    networks, place, names = chains
    question = Question("place", np.where(np.arange(120) < 9, place, np.nan))
    with pytest.raises(ReaderError, match="place: is asked of 3 chains, too few for 4 parts"):
        read("norms", ReaderSettings(), networks, question, names, FITTING, seed=0)
    with pytest.raises(ReaderError, match="place: 120 values and 119 chains of 120 networks"):
        read("norms", ReaderSettings(), networks, Question("place", place), names[:-1], FITTING, seed=0)
    with pytest.raises(ReaderError, match="place: its values must be 0 to 1, its classes, or NaN"):
        read("norms", ReaderSettings(), networks, Question("place", place, 2), names, FITTING, seed=0)
    question = Question("first or last", np.where(np.arange(120) < 6, np.arange(120) % 2, np.nan), 2)
    each = [str(number) for number in range(120)]
    with pytest.raises(ReaderError, match="first or last: no class has more than 3 networks, too few for 4 parts"):
        read("norms", ReaderSettings(), networks, question, each, FITTING, seed=0)


def test_probes_run_networks_by_their_own_equations():
    sizes = Sizes(5, 2, 3)
    networks = random_networks(2, sizes, seed=4)
    reader = make_reader("probing", ProbingSettings(steps=3, sequences=2, hold=2), sizes, 1, seed=0)
    with torch.no_grad():
        outputs = torch.stack(reader._run(networks)[1], 1)
    weights = {
        "recurrent_weights": networks.recurrent,
        "input_weights": networks.inputs,
        "output_weights": networks.outputs,
        "bias": networks.bias,
        "output_bias": networks.output_bias,
        "initial_state": networks.initial_state,
    }
    loaded = RateRNN(weights, 0.2, 0.0)
    with torch.no_grad():
        inputs = reader.probes.repeat_interleave(2, 0).expand(2, -1, -1, -1)
        expected = loaded.readout(loaded(inputs.contiguous()))[:, 1::2]
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


def test_networks_of_files_are_of_one_size_and_of_tanh():
    files = []
    for units, seed in ((4, 0), (4, 1), (5, 2)):
        made = initialise(network_settings({"units": units}), 2, 1, 0.2, [torch.Generator().manual_seed(seed)])
        weights = {name: (along, made.weights()[name].numpy()) for name, along in made.dimensions.items()}
        files.append(xr.Dataset(weights, {"seed": [0]}, {"dt": 0.02, "tau": 0.1, **made.attributes()}))
    networks = Weights.of_networks(files[:2])
    assert len(networks) == 2 and networks.sizes == Sizes(4, 2, 1)
    np.testing.assert_array_equal(networks.inputs[1], files[1]["input_weights"][0])
    np.testing.assert_allclose(networks.alpha, 0.2)
    sizes = r"networks have 4 \(steep/0/0\) and 5 \(wide/0/0\) units; readers read networks of one size: name the pop"
    with pytest.raises(ReaderError, match=sizes):
        Weights.of_networks(files, ["steep/0/0", "steep/1/0", "wide/0/0"])
    with pytest.raises(ReaderError, match=r"networks have 1 \(one/0/0\) and 2 \(two/0/0\) outputs"):
        Weights.of_networks(
            [files[0], xr.concat([files[1]] * 2, "output", data_vars="minimal")], ["one/0/0", "two/0/0"]
        )
    with pytest.raises(ReaderError, match=r"4 \(one\) and 5 \(two\) units"):
        Weights.joined({"one": networks, "two": Weights.of_networks(files[2:])})
    other = r"relu/0/0: is of the architecture rate \(relu\); readers read rate networks of tanh: name the populations"
    with pytest.raises(ReaderError, match=other):
        Weights.of_networks([files[0].assign_attrs(nonlinearity="relu")], ["relu/0/0"])


CHAIN = (("insd", 0, "reference"), ("insd", 1, "alternative"), ("twisted", 1, "control"), ("insd", 2, "untrained"))


@pytest.fixture(scope="module")
def compared():
    """`readers.nc` of eight standards, and eight references, alternatives and controls, of which the alternatives have
    larger weights, and one of each is not solved."""
    members, made = [], network_settings({"units": 4})
    for seed in range(8):
        for population, number, role in (("standard", 0, "standard"), *CHAIN):
            drawn = initialise(made, 2, 1, 0.2, [torch.Generator().manual_seed(10 * seed + number)])
            weights = {name: (along, drawn.weights()[name].numpy()) for name, along in drawn.dimensions.items()}
            network = xr.Dataset(weights, {"seed": [seed]}, {"dt": 0.02, "tau": 0.1, **drawn.attributes()})
            network["recurrent_weights"] *= 4.0 if role == "alternative" else 1.0
            activity = xr.Dataset({"solved": ("seed", [seed < 7])}, {"seed": [seed]})
            members += Member.of_datasets(population, number, role, network, activity)
    size = np.array([float(np.square(member.network["recurrent_weights"]).mean()) for member in members])
    labels = {"network": [member.label for member in members]}
    performance = xr.Dataset(
        {"loss": (("network", "regime"), np.stack([size * 0, size, size], 1))},
        {**labels, "regime": ["test", "long", "noisy"]},
    )
    robustness = xr.Dataset({"noise_loss": (("network", "noise_level"), np.stack([-size, -size], 1))}, labels)
    points = np.full((len(members) - 1, 1), 2)
    points = xr.Dataset(
        {"n_stable_fixed_points": (("searched_network", "searched_condition"), points)},
        {"searched_network": labels["network"][1:]},
    )
    references = {"standard": "standard", "insd": "insd", "twisted": "insd"}
    readers = {"norms": {}, "again": {"reader": "norms", "hidden": 32}}
    fitting = Fitting(folds=3, epochs=12, step_size=3e-2, resamples=20)
    analysis = plugins.find("analysis", "readers")
    others = {"performance": performance, "robustness": robustness, "fixed_points": points}
    more = {"references": references, "confidence": 0.95}
    own = analysis.settings(readers=readers, fitting=fitting)
    result = analysis.run(Job("flip_flop", FlipFlop(), members, own, analyses=others, more=more))["readers"]
    return validate(result, analysis.writes["readers"], "readers.nc")


def test_readers_are_compared_on_solved_networks_of_other_chains(compared):
    assert compared["question"].values.tolist() == [
        "class",
        "class_shuffled",
        "hard_loss",
        "noise_loss",
        "stable_points",
    ]
    assert set(compared["classes"].values[:2]) == {"standard, alt-1, control"}
    # Seven of each of four kinds; a chain is a standard, or a reference with its alternative and control.
    assert compared["networks"].values.tolist() == [28, 28, 28, 28, 27]
    assert compared["chains"].values.tolist() == [14, 14, 14, 14, 13]
    scores = compared["score"].sel(reader="norms")
    assert scores.sel(question="class") > 0.6 > scores.sel(question="class_shuffled")
    assert scores.sel(question="hard_loss") > 0.5 and scores.sel(question="noise_loss") > 0.5
    assert compared["without_answer"].values.tolist() == ["", "", "", "", "all networks have the same"]
    assert np.isnan(scores.sel(question="stable_points"))
    np.testing.assert_array_equal(*compared["draws"].transpose("reader", ...).values)


@pytest.fixture(scope="module")
def of_two_tasks(tmp_path_factory):
    """Networks of two tasks, of one and two inputs and outputs, whose recurrent weights differ in size, and their
    rows of `networks.csv`. Of each task one seed is not solved, and there are untrained networks."""
    folder, rows, files = tmp_path_factory.mktemp("tasks"), [], {"one": [], "two": []}
    for number, task in enumerate(files, 1):
        for population, role in (("standard", "standard"), ("untrained", "untrained")):
            made = initialise(
                network_settings({"units": 4}),
                number,
                number,
                0.2,
                [torch.Generator().manual_seed(100 * number + seed) for seed in range(9)],
            )
            weights = {name: (along, made.weights()[name].numpy()) for name, along in made.dimensions.items()}
            stored = xr.Dataset(weights, {"seed": range(9)}, {"dt": 0.02, "tau": 0.1, "settings": "{}"})
            stored["recurrent_weights"] *= number
            stored["restarts"] = ("seed", np.zeros(9, int))
            path = str(folder / f"{task}-{population}.nc")
            write(stored.assign_attrs(made.attributes()), path, "network")
            files[task].append((path, population, 0))
            about = {"task": task, "population": population, "role": role, "round": 0}
            rows += [{**about, "seed": seed, "solved": seed < 8} for seed in range(9)]
    return pd.DataFrame(rows), files


def test_the_task_is_read_from_recurrent_weights_alone(of_two_tasks):
    table, files = of_two_tasks
    fitting = Fitting(folds=4, epochs=12, step_size=5e-2, resamples=20)
    readers = {name: (name, plugins.settings_of("reader", name)()) for name in plugins.names("reader")}
    few = {**readers, "graph": ("graph", GraphSettings(width=4, layers=1))}
    references = {"standard": "standard", "untrained": "untrained"}
    found = readings(table, files, references, few, fitting, 0.95).set_index("reader")
    # Probes need inputs.
    assert sorted(found.index) == sorted({*readers} - {"probing"})
    assert (found["tasks"] == "one two").all() and (found["networks"] == 16).all() and (found["chains"] == 16).all()
    assert found.loc["norms", "score"] > 0.9 and found.loc["norms", "shuffled"] < 0.75
    assert ((found["score_low"] <= found["score"]) & (found["score"] <= found["score_high"])).all()
    alone = readings(table[table["task"] == "one"], files, references, readers, fitting, 0.95)
    assert alone.empty and list(alone) == COLUMNS


def test_networks_of_gates_are_not_asked_about_their_task(of_two_tasks, tmp_path):
    table, files = of_two_tasks
    made = initialise(
        network_settings({"architecture": "gru", "units": 4}), 1, 1, 0.2, [torch.Generator().manual_seed(0)]
    )
    weights = {name: (along, made.weights()[name].numpy()) for name, along in made.dimensions.items()}
    stored = xr.Dataset(weights, {"seed": [0]}, {"dt": 0.02, "tau": 0.1, "settings": "{}", **made.attributes()})
    stored["restarts"] = ("seed", [0])
    write(stored, str(tmp_path / "gru.nc"), "network")
    gated = {"task": "one", "population": "gru", "role": "standard", "round": 0, "seed": 0, "solved": True}
    found = readings(
        pd.concat([table, pd.DataFrame([gated])]),
        files | {"one": [*files["one"], (str(tmp_path / "gru.nc"), "gru", 0)]},
        {"standard": "standard", "untrained": "untrained", "gru": "gru"},
        {"norms": ("norms", ReaderSettings())},
        Fitting(folds=4, epochs=1, resamples=2),
        0.95,
    )
    assert found["networks"].tolist() == [16]


def evidence(result):
    rows = pd.DataFrame({"task": ["flip_flop"], "population": ["insd"], "role": ["alternative"]})
    return Evidence("flip_flop", "insd", rows, rows[:0], {"readers": result}, {}, 0.95, 100)


@pytest.mark.parametrize("rises, verdict", [((0.3, 0.2), "reproduced"), ((0.3, 0.0), "partly"), ((0.0, -0.2), "not")])
def test_a_reader_is_above_others_by_paired_draws(rises, verdict):
    draws = np.random.default_rng(0).normal(0.6, 0.2, 400)
    jitter = np.random.default_rng(1).normal(0, 0.01, 400)
    of_readers = np.stack([draws, draws - rises[0] + jitter, draws - rises[1] + jitter])[None]
    result = xr.Dataset(
        {"score": (("question", "reader"), of_readers.mean(-1)), "draws": (("question", "reader", "r"), of_readers)},
        {"question": ["class"], "reader": ["equivariant", "norms", "spectrum"]},
    )
    [claim] = [one for one in plugins.find("claims", "zhou_2023").claims if one.id == "class_from_weights"]
    said, found = claim.judge(evidence(result))
    assert found == verdict and f"minus that of norms: {rises[0]:+.2f}" in said
    assert said.startswith(f"equivariant: AUC of the class {draws.mean():.2f}; minus that of norms")
    assert claim.judge(evidence(result.sel(reader=["equivariant", "norms"])))[1] == "no answer"


def test_the_figure_has_a_panel_per_question_and_says_what_was_not_asked(compared):
    figure = readers_figure(compared, 0.95)
    notes = [text.get_text() for axes in figure.axes for text in axes.texts if "all networks" in text.get_text()]
    assert len(figure.axes) == 4 and len(notes) == 1
    close(figure)


def test_a_config_names_readers_with_their_settings():
    config = {"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 1}}}
    readers = {"mine": {"reader": "equivariant", "channels": [4]}, "other": {"reader": "norm"}, "graph": {"width": 0}}
    settings = load(config | {"analysis": {"readers": {"readers": {"mine": readers["mine"]}}}})
    analysis = plugins.find("analysis", "readers")
    assert analysis.applies(settings, "flip_flop") and not analysis.applies(load(config), "flip_flop")
    assert analysis.modules(settings.analysis_settings("readers")) == ["insd.readers.equivariant"]
    with pytest.raises(SettingsError) as error:
        load(config | {"analysis": {"readers": {"readers": readers}}})
    told = str(error.value)
    assert "analysis.readers.readers.other: there is no reader of networks 'norm'" in told
    assert "analysis.readers.readers.graph: width = 0: " in told and "mine" not in told
    with pytest.raises(SettingsError, match=r"fitting\.fold = 5: unknown key; known here: folds, epochs"):
        load(config | {"analysis": {"readers": {"fitting": {"fold": 5}}}})


OWN = """
from insd.readers.base import OfFeatures


class Biases(OfFeatures):
    sees_outputs = False

    def features(self, networks):
        return networks.bias.sort(-1).values


class FirstBias(Biases):
    def features(self, networks):
        return networks.bias[:, :1]
"""


def test_a_reader_of_ones_own_is_checked(tmp_path, monkeypatch):
    (tmp_path / "of_my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    check_reader("of_my_own:Biases")
    with pytest.raises(
        ReaderError, match=r"of_my_own:FirstBias: its answers change by \S+ with the order of units; by"
    ):
        check_reader("of_my_own:FirstBias")


@pytest.mark.parametrize(
    "network, refused",
    [
        (
            {"units": 8},
            "the task flip_flop have 8 \\(other\\) and 100 \\(standard\\) units; readers read one size: name the",
        ),
        (
            {"nonlinearity": "relu"},
            "populations.other.network.nonlinearity = 'relu': readers read rate networks of tanh",
        ),
        ({"architecture": "gru", "units": 8}, None),
    ],
)
def test_networks_that_cannot_be_read_are_refused_before_they_are_trained(network, refused):
    other = {"seeds": 1, "role": "standard", "network": network}
    config = {"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 1}, "other": other}}
    load(config)
    load(config | {"analysis": {"readers": {"populations": ["standard"]}}})
    if refused is None:
        load(config | {"analysis": {"readers": {}}})
    else:
        with pytest.raises(SettingsError, match=refused):
            load(config | {"analysis": {"readers": {}}})
