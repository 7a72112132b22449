"""Features without backpropagation: the library behind the book.

Import the module that you need (``from lib.cca import PastFutureCCA``); importing the package
itself loads nothing else.
"""
