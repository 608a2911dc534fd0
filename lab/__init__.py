"""The shelves: one noun each. What a script does is told in the script; this is what it looks up.

environment what a script is started in, looked at before torch loads
text        plurals, and text from elsewhere that is fit to be shown
errors      what can go wrong, and the one line that says it
options     a frozen dataclass as command-line options
chance      one stream of random numbers a purpose
machine     device, cores, precision
data        images as one uint8 tensor, from the first source that has them
download    a set from the network, where there is one
models      generator and discriminator, and how each is built from its config
losses      one pair of functions a loss, its paper beside it
adam        the optimizer, one call for all weights of a network
graphs      the training step as CUDA graphs, replayed without Python
places      what a user names for files, looked at before any work
storage     files that appear whole; text and JSON from elsewhere, never trusted
tensors     weights and checkpoints, from elsewhere never trusted
checkpoint  the state of a training, to disk and back
runs        run folders, their config and history
provenance  the images that a run was trained on, found again
lock        a folder held against other programs of the lab
pictures    pictures from elsewhere, read as grey ones of 28 x 28
images      grids, sheets, curves, the GIF
metrics     what a number means: its definition and its paper
classifier  the small fixed classifiers that images are measured with
judge       which images are compared with which; evaluation.json
advice      figures in plain words, with the option that cures
inception   the Inception FID, where its network is installed
restore     noise, its level, what restored images score
projection  noisy images onto a generator; regeneration
denoiser    the convolutional denoiser: its network, trained, stored, used
sheets      what denoise_images.py makes, and scores.json beside it
folder      folders of pictures: read to be scored, or in tiles to be restored
screen      what a training shows while it runs
stills      pictures of a finished run: walks between latents, nearest training images
board       events for TensorBoard, where it is installed
report      one self-contained report.html from a run folder
index       all runs at a glance: index.html, and the table of --list
records     what a run folder says of itself, damaged parts passed over
live        the generator as operations that the page's JavaScript carries out
album       the pictures of a run, ready for a page
curves      the history as inline SVG
readings    what is seen at each point of the training, in a sentence
tables      figures with their meaning and the published anchors
page/       the templates, style and scripts of the report and the index
sample/     the bundled sample of each set
weights/    the weights of the classifiers, and the script that trains them
"""
