"""The shelves: one noun each. What a script does is told in the script; this is what it looks up.

errors      what can go wrong, and the one line that says it
options     a frozen dataclass as command-line options
chance      one stream of random numbers a purpose
machine     device, cores, memory
data        images as one uint8 tensor, from the first source that has them
models      the networks, and how each is built from its config
losses      one pair of functions a loss, its paper beside it
storage     files that appear whole and are never trusted
checkpoint  the state of a training, to disk and back
runs        run folders, their config and history
images      grids, sheets, curves, the GIF
metrics     what a number means: its definition and its paper
judge       which images are compared with which; evaluation.json
advice      figures in plain words, with the option that cures
inception   the Inception FID, where its network is installed
gallery     any program's pictures, read from a folder and hung by class
restore     noise, its level, what restored images score
projection  noisy images onto a generator; regeneration
denoiser    the convolutional denoiser: trained, stored, used
folder      the user's own pictures, cut into tiles and joined again
report      one self-contained report.html from a run folder
sample/     the bundled sample of each set
weights/    the small fixed classifiers that metrics are measured with
"""
