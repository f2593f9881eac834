"""The model: encoding, decoder, point-spread function, slice motion, and the forward model that
joins them (paper section 3.2). Everything is in canonical millimetres; torch only.
"""
