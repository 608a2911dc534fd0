"""Training: everything but the training step itself, which is in gan_lab.py.

losses        adversarial losses and the gradient penalty
augmentation  augmentation of the discriminator's inputs, for small training sets
optim         Adam, Muon, the moving average of the generator's weights
state         everything that changes from step to step, and its checkpoint
networks      generator and discriminator as the options describe them
plan          checks and defaults of the options, the printed plan
length        the number of steps and epochs, the learning-rate schedule
timing        forecast of the run time; --minutes
pace          how often checkpoint, history and page are written
progress      progress bar, one line per epoch, TensorBoard
cuda_graph    the training step as CUDA graphs
distributed   several processes that train together
follower      what all of them but the first do
"""

from lab.training.augmentation import Augmentation
from lab.training.cuda_graph import GraphedStep
from lab.training.length import MAX_EPOCHS, Length
from lab.training.losses import LOSSES, gradient_penalty
from lab.training.networks import build_networks
from lab.training.optim import Adam, ema_decay, update_ema
from lab.training.state import STEP_FIGURES, TrainingState
from lab.training.timing import TimeBudget
