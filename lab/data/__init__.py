"""The image sets: where their images come from, and their pixels.

specs         what is known of each set, one row each
datasets      a set that has been read, and where it is looked for
sources       where a set that has a name comes from: torchvision's classes, IDX files
idx           the IDX format
own           a set of one's own, in order; kept between runs, since converting takes long
listing       the files in a folder or zip, without trust
arrays        npz, and folders of IDX files of any square size
conversion    pictures and arrays as images of one shape, each in its half and class
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
