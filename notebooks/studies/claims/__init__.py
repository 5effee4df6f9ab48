"""Claims of newer papers beside this program's own measures, a study each.

python -m studies.claims.rmnp       do rows dominate, in the momentum and in the Hessian?
python -m studies.claims.gefen      blocks that the first squared gradient shows
python -m studies.claims.rates      learning rates by role and by the spectra of the weights
"""
