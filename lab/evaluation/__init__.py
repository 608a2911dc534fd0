"""Scores of generated images, and what they mean.

metrics       the definitions of metrics, on features or on images
catalogue     METRICS: one row each, with its name, direction and explanation
classifiers   the classifiers of a set: found, or trained and cached
judges        the networks in whose features images are compared
reference     the real images of a set, as the judges see them
evaluator     computes the metrics of images or of a generator
subject       what evaluate_images.py scores: a generator, or a folder of pictures
cas           the classification accuracy score, computed on request
diagnosis     explains the figures, and suggests options
inception     the Inception FID, computed on request
latent_space  walks between latents, and nearest training images
"""

from lab.evaluation.evaluator import Evaluator, Judgement
