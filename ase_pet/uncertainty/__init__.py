"""Uncertainties of calculators: made, calibrated, compared with errors, and used to select data.

last_layer     LLPR of a model: covariance of features, ridge, calibration, ensemble
calibration    expected against observed errors: table, picture, numbers
committee      several calculators as one, whose spread is an uncertainty
selection      structures worth labelling: farthest points in features, weighted by uncertainty
folders        LLPR added to a calculator folder
"""
