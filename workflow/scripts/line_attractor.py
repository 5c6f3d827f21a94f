"""Line attractors of all networks of a task that integrates evidence."""

import numpy as np

from insd import datasets
from insd.analysis.line_attractor import line_attractor
from insd.jobs import job
from insd.members import read_rounds
from insd.networks.base import constant_input_weights
from insd.provenance import attributes
from insd.settings.config import make_task

with job(snakemake.log[0]):
    task = make_task(snakemake.wildcards.task, snakemake.params.parameters)
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, [])
    input_weights = np.concatenate([constant_input_weights(current.network) for current in rounds])
    points = datasets.read(snakemake.input.points, "fixed_points")
    result = line_attractor(points, input_weights, task.evidence_inputs)
    result.attrs |= attributes({"rounds": snakemake.params.rounds}, "insd.analysis.line_attractor")
    datasets.write(result, snakemake.output.lines, "line_attractor")
