"""The image sets: where their images come from, and their pixels.

datasets      what is known of each set, one row each; a set that has been read
sources       IDX files in a folder, torchvision's download
pixels        from one scale to another
pictures      one picture from elsewhere, read without trust
image_folder  folders of pictures, to be scored or restored
writers       pictures to files
sample/       10,000 + 2,000 images of each set, for when there is no network
"""

from lab.data.datasets import DATASETS, Dataset, DatasetSpec, load, load_sample
from lab.data.pixels import to_float
from lab.data.sources import MOST_IMAGES

__all__ = ["DATASETS", "MOST_IMAGES", "Dataset", "DatasetSpec", "load", "load_sample", "to_float"]
