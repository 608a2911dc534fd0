"""Corrupting images and restoring them.

corruption   the base class of all corruptions; its subclasses are in noises, masks and operators
corruptions  CORRUPTIONS, one row each, and how `--corruption` is parsed
restorers    RESTORERS, the ways to restore an image, one row each
projection   projection onto a generator, given the corruption
denoising    the blind denoiser: training and use
posterior    a conditional GAN that samples possible clean images
examples     training data of the denoiser and the sampler
networks     finds or trains the denoiser and the sampler of a set
classical    CLASSICAL, methods without a network, one row each
own_pictures restores the user's own pictures, and estimates how they were corrupted
scoring      PSNR, SSIM and accuracy of restored images
sheets       draws sheets of restored images and of samples, and records their scores
"""
