"""Simulate: equation files in, spikes and voltages out."""

import warnings

# On Linux, Brian2's look for Microsoft's compiler makes setuptools complain.
warnings.filterwarnings("ignore", message="_get_vc_env is private")
