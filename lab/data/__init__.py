"""The image sets: where their images come from, and their pixels.

specs         what is known of each set, one row each
datasets      a set that has been read, and where it is looked for
sources       the kinds of sets that have a name: IDX files, torchvision's classes
idx           the IDX format
own           a set of one's own: pictures in a folder or zip, arrays
listing       the files in a folder or zip, without trust
classes       which half and class a picture belongs to, by its folder
conversion    pictures and arrays as images of one shape
arrays        npz, and folders of IDX files of any square size
cache         converted pictures, kept between runs
pixels        from one scale to another
pictures      one picture from elsewhere, read without trust
image_folder  folders of pictures, to be scored or restored
writers       pictures to files
sample/       10,000 + 2,000 images of two sets, for when there is no network
"""

from lab.data.datasets import Dataset, colour_asked, load, load_sample
from lab.data.idx import MOST_IMAGES
from lab.data.pixels import to_float
from lab.data.specs import DATASETS, DatasetSpec

# What --dataset takes, for its help.
OF_SETS = f"{', '.join(DATASETS)}, or the path of a folder, zip or npz of your own"

__all__ = [
    "DATASETS",
    "MOST_IMAGES",
    "OF_SETS",
    "Dataset",
    "DatasetSpec",
    "colour_asked",
    "load",
    "load_sample",
    "to_float",
]
