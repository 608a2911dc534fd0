"""What people look at; only this folder draws.

figures     pictures in files: grids, sheets, the GIF
charts      what is drawn over the epochs, for the page and for the PNG
recorder    what a training leaves behind while it runs
results     what a finished run is remembered by
report      the page of a run
index       the page of all runs, and their table
page        a page from its template in templates/
embedding   pictures inside a page
summary     figures in plain words
tables      the tables of the page
web_export  the generator inside a page
"""

from lab.report.figures import save_each
from lab.report.recorder import Recorder
from lab.report.report import look_at_runs, show
from lab.report.results import save_evaluation, save_pictures

__all__ = [
    "Recorder",
    "look_at_runs",
    "save_each",
    "save_evaluation",
    "save_pictures",
    "show",
]
