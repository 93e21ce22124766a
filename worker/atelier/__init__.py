"""The atelier: everything the bundled base model is made of.

A stitch renderer, a corpus of designs, and the training of autoencoder and base. Nothing outside this package
imports it at run time; the service only needs the weights it leaves behind.
"""
