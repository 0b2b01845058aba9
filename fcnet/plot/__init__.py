"""Figures: each function draws on `ax`, or on axes of its own, and returns them; none saves a file.

Colours are Okabe and Ito's, which colour-blind readers tell apart. All need the extra `plot`, and
raise ModuleNotFoundError without it.
"""

from fcnet.plot.fits import kink as kink
from fcnet.plot.fits import loss_curve as loss_curve
from fcnet.plot.fits import prediction as prediction
from fcnet.plot.gradients import agreement as agreement
from fcnet.plot.networks import house_network as house_network
from fcnet.plot.networks import network as network
