"""Figures. Each function draws on `ax`, or on new axes, and returns the axes; none saves a file.

`walk` returns a page instead, as HTML. The colours are Okabe and Ito's, which colour-blind readers
can distinguish. All functions but `walk` need the extra `plot`, and raise ModuleNotFoundError
without it.
"""

from fcnet.plot.ensembles import ensemble_band as ensemble_band
from fcnet.plot.fits import history as history
from fcnet.plot.fits import kink as kink
from fcnet.plot.fits import loss_curve as loss_curve
from fcnet.plot.fits import prediction as prediction
from fcnet.plot.gradients import agreement as agreement
from fcnet.plot.gradients import gradient_norms as gradient_norms
from fcnet.plot.layers import pre_activations as pre_activations
from fcnet.plot.networks import house_network as house_network
from fcnet.plot.networks import network as network
from fcnet.plot.outputs import surface as surface
from fcnet.plot.outputs import surfaces as surfaces
from fcnet.plot.walkthrough import walk as walk
