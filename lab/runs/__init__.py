"""Run folders: what a training leaves, found, read and written by one object.

layout      where the files lie; the next free folder
schema      what config, history, evaluation and scores hold
run         a run folder as one object
images      the images that a run was trained on
resume      what --resume asks for
generators  the generator that --run, --generator or --pretrained names
generated   what generate_images.py made with a generator
results     what denoise_images.py made with a generator
"""

from lab.runs.images import load_own_dataset
from lab.runs.layout import OUTPUTS, check_out
from lab.runs.resume import resumed
from lab.runs.run import Run
