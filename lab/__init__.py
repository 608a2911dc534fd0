"""The modules behind the scripts. Each imports only from those below it, which CI checks.

report       HTML report, figures and tables
evaluation   scores of generated images
restoration  corruptions, and methods that restore corrupted images
training     losses, optimizers, checkpoints, progress; the training step is in gan_lab.py
runs         run folders
models       the networks, their weights files, sampling
data         data sets, and pictures of the user

options      command-line options declared as a dataclass
device       device, number of threads, precision of matrix products
seeding      independent random generators from one seed
files        atomic writing, reading of untrusted files, locks
errors       exceptions, one-line error messages, signals, exit codes
text         number and name formatting, shell commands, progress bars

`evaluation` and `restoration` do not import each other; nor do `training` and `runs`, nor
`options`, `device` and `seeding`.
"""
