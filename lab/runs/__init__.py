"""Run folders: their files, and a `Run` object that finds, reads and writes them.

layout      file names; the next free folder
schema      contents of config.json, history.csv, evaluation.json and scores.json
run         a run folder as one object
images      the images that a run was trained on
resume      the run and the options for --resume
generators  the generator for --run, --generator or --pretrained
generated   output of generate_images.py
results     output of denoise_images.py
"""

from lab.runs.images import load_training_dataset
from lab.runs.layout import OUTPUTS, check_out
from lab.runs.resume import resume_options
from lab.runs.run import Run
