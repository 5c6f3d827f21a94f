"""A figure, from the files that it reads."""

from insd import plugins
from insd.figures.base import Drawing
from insd.figures.theme import save
from insd.jobs import job

files, params = snakemake.input, snakemake.params

with job(snakemake.log[0]):
    figure = plugins.find("figure", params.figure)
    drawing = Drawing(figure, {key: files[key] for key in figure.reads}, params.tasks, params.settings, params.blocks)
    save(figure.draw(drawing), list(snakemake.output))
