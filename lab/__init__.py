"""What the scripts look up. A folder imports only from those below it, which CI checks.

report       pages, pictures and tables: what people look at
evaluation   how good images are: metrics and the evaluator that computes them
restoration  corruptions, and what restores corrupted images
training     losses, optimizer, checkpoints, progress: all of a training but its two updates
runs         run folders, found, read and written by one object
models       the networks, their weights files, sampling
data         the image sets, and pictures from elsewhere

options      a dataclass as command-line options and back
errors       what can go wrong, and the one line that says it; signals; exit codes
files        files that appear whole, read without trust; locks
device       where to compute, with how many cores and in what precision
seeding      one stream of random numbers a purpose
text         what people are shown: words, commands, progress bars

The scripts import `report`; `evaluation` and `restoration` do not import each other, nor do
`training` and `runs`.
"""
