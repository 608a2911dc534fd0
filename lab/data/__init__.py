"""The image sets: reading, downloading, converting and writing them.

specs         DATASETS: name, shape and classes of each named set, one row each
datasets      finds and loads a set
sources       reads and downloads named sets, by torchvision or as IDX files
idx           the IDX format
own           a set of the user's own, sorted and cached
listing       lists the files in a folder or zip
arrays        reads npz files, and folders of IDX files of any size
conversion    converts pictures and arrays to images of one shape, with their classes
pixels        conversion between pixel ranges
pictures      reads and converts one picture
image_folder  folders of pictures to be scored or restored
writers       writes images as PNG, npz, zip or IDX
sample/       10,000 + 2,000 images of MNIST and Fashion-MNIST, for use without a network
"""

from lab.data.datasets import Dataset, colour_asked, load, load_sample
from lab.data.idx import MAX_IMAGES
from lab.data.pixels import to_float
from lab.data.specs import DATASETS, DatasetSpec

# What --dataset accepts, for the help text.
OF_SETS = f"{', '.join(DATASETS)}, or the path of a folder, zip or npz of your own"
