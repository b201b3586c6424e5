"""The demonstration ``upramp demo``: a simulated exposure, calibrated as a user would, compared with the truth."""
