"""Figures, the HTML report of a run, and the recorder that writes a run during its training.

figures     image files: grids, sheets, the GIF
charts      charts over the epochs, as SVG for the page and as PNG
recorder    samples, scores, history, checkpoints and output of a training
results     figures and evaluation of a finished run
report      the page of a run
index       the page of all runs, and their table
page        rendering of the templates in templates/
embedding   images inside a page
summary     scores in words
tables      the tables of the page
web_export  the generator inside a page
"""

from lab.report.figures import save_images
from lab.report.recorder import Recorder
from lab.report.report import look_at_runs, write_pages
from lab.report.results import save_evaluation, save_pictures
